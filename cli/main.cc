#include "cli/commands/app.h"

int main(int argc, char** argv) { return pgconvoy::cli::Main(argc, argv); }
