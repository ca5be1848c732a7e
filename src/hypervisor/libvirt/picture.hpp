#pragma once

#include "base/error.hpp"

#include <string>

namespace understudy::libvirt {

// As much as a screen of 8192 × 4096 in 24 bits needs, and a header.
inline constexpr std::size_t kMaxPicture = (std::size_t{96} << 20) + 64;

// Makes a PNG of what QEMU's screendump gives (a binary PPM with 8 bits per sample). A PNG stays as
// it is.
Result<std::string> as_png(const std::string& picture);

}  // namespace understudy::libvirt
