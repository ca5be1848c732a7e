#include "hypervisor/libvirt/picture.hpp"

#include <gmock/gmock.h>
#include <png.h>

namespace understudy::libvirt {
namespace {

std::string pixels_of(const std::string& png, std::uint32_t& width, std::uint32_t& height) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    if (png_image_begin_read_from_memory(&image, png.data(), png.size()) == 0) return {};
    image.format = PNG_FORMAT_RGB;
    width = image.width;
    height = image.height;
    std::string pixels(PNG_IMAGE_SIZE(image), '\0');
    png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr);
    return pixels;
}

TEST(Picture, a_screendump_becomes_a_png_with_the_same_pixels) {
    const std::string pixels("\x01\x02\x03\xff\x00\x00 \n#abcABC\x7f\x7f\x7f", 18);
    const auto png = as_png("P6\n# made by QEMU\n3 2\n255\n" + pixels);
    ASSERT_TRUE(png) << png.error().text();
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    EXPECT_EQ(pixels_of(*png, width, height), pixels);
    EXPECT_EQ(width, 3u);
    EXPECT_EQ(height, 2u);
    EXPECT_EQ(*as_png(*png), *png);
}

TEST(Picture, what_is_cut_off_or_too_large_is_refused) {
    for (const std::string bad :
         {"", "P6", "P6 1 1 255", "P6 1 1 255 ab", "P5 1 1 255 abc", "P6 1 1 65535 abcdef",
          "P6 0 5 255 ", "P6 4294967295 4294967295 255 abc", "P6 -1 1 255 abc", "P6 #",
          "P6 99999999999999999999 1 255 abc"})
        EXPECT_FALSE(as_png(bad)) << bad;
}

}  // namespace
}  // namespace understudy::libvirt
