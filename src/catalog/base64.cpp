#include "catalog/base64.hpp"

#include "base/base64.hpp"

namespace understudy::catalog {

std::string to_base64(std::string_view bytes) {
    return base::base64_encode(bytes);
}

Result<std::string> from_base64(std::string_view text) {
    auto bytes = base::base64_decode(text);
    if (!bytes) return fail(ErrorKind::corrupt, "stored bytes are not base64");
    return bytes;
}

}  // namespace understudy::catalog
