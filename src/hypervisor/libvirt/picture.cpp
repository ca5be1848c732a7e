#include "hypervisor/libvirt/picture.hpp"

#include <fmt/format.h>
#include <png.h>

#include <cctype>
#include <charconv>

namespace understudy::libvirt {
namespace {

constexpr std::uint64_t kMostPixels = std::uint64_t{8192} * 4096;

// The next number of a PPM's header, behind spaces and comments; 0 when there is none.
std::uint32_t next_number(const std::string& text, std::size_t& at) {
    const auto is_space = [&] { return std::isspace(static_cast<unsigned char>(text[at])) != 0; };
    while (at < text.size() && (is_space() || text[at] == '#')) {
        if (text[at] == '#') at = std::min(text.find('\n', at), text.size());
        if (at < text.size()) ++at;
    }
    std::uint32_t number = 0;
    const auto* begin = text.data() + at;
    const auto [end, error] = std::from_chars(begin, text.data() + text.size(), number);
    at += static_cast<std::size_t>(end - begin);
    return error == std::errc{} ? number : 0;
}

}  // namespace

// Format: https://netpbm.sourceforge.net/doc/ppm.html
Result<std::string> as_png(const std::string& picture) {
    if (picture.starts_with("\x89PNG")) return picture;
    std::size_t at = 2;
    const auto width = picture.starts_with("P6") ? next_number(picture, at) : 0;
    const auto height = next_number(picture, at);
    const auto samples = next_number(picture, at);
    const auto pixels = std::uint64_t{width} * height;
    ++at;  // one space ends the header
    if (pixels == 0 || pixels > kMostPixels || samples != 255 || at > picture.size() ||
        picture.size() - at < pixels * 3)
        return fail(ErrorKind::unsupported, "the screenshot is no picture that is known here");
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = width;
    image.height = height;
    image.format = PNG_FORMAT_RGB;
    std::string png(PNG_IMAGE_PNG_SIZE_MAX(image), '\0');
    auto size = static_cast<png_alloc_size_t>(png.size());
    if (png_image_write_to_memory(&image, png.data(), &size, 0, picture.data() + at, 0, nullptr) ==
        0)
        return fail(ErrorKind::internal, fmt::format("make a PNG: {}", image.message));
    png.resize(size);
    return png;
}

}  // namespace understudy::libvirt
