# Run with cmake -P: writes OUTPUT, a C++ file that holds every numbered SQL file of SQL_DIR.
file(GLOB files ${SQL_DIR}/*.sql)
list(SORT files)
set(entries "")
foreach(file ${files})
  get_filename_component(name ${file} NAME_WE)
  if(NOT name MATCHES "^([0-9][0-9][0-9][0-9])_[a-z0-9_]+$")
    message(FATAL_ERROR "${file}: name must be NNNN_words.sql")
  endif()
  # As a decimal number: a literal with leading zeros would be octal.
  string(REGEX REPLACE "^0+" "" version ${CMAKE_MATCH_1})
  file(READ ${file} text)
  string(APPEND entries "    {${version}, \"${name}\", R\"pgcsql(${text})pgcsql\"},\n")
endforeach()
file(WRITE ${OUTPUT}
  "#include \"coordinator/store/schema.h\"\n\n#include <array>\n\n"
  "namespace pgconvoy::store {\nnamespace {\n\nconst auto kFiles = std::to_array<SchemaFile>({\n${entries}});\n\n"
  "}  // namespace\n\nstd::span<const SchemaFile> SchemaFiles() { return kFiles; }\n\n"
  "}  // namespace pgconvoy::store\n")
