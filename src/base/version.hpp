#pragma once

#include <string_view>

namespace understudy::base {

std::string_view version();  // of this build; CMakeLists.txt states it

}  // namespace understudy::base
