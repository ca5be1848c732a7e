#include "base/version.hpp"

namespace understudy::base {

std::string_view version() {
    return UNDERSTUDY_VERSION;
}

}  // namespace understudy::base
