// Which hosts are this machine.
//
// Thread safety: pure.
#pragma once

#include <string_view>

namespace pgconvoy {

// True for localhost, 127.0.0.0/8 and ::1, which no other machine reaches. Other names are not looked up.
bool IsLoopbackHost(std::string_view host);

}  // namespace pgconvoy
