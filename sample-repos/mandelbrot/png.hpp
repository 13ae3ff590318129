// A PNG writer in a few lines. It does not compress: the zlib stream is made of stored blocks.
// The formats: PNG https://www.w3.org/TR/png-3/, zlib RFC 1950, deflate RFC 1951 (3.2.4).

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace png {

struct Pixel {
    std::uint8_t red, green, blue;
};

inline std::string big_endian(std::uint32_t n) {
    return {char(n >> 24), char(n >> 16), char(n >> 8), char(n)};
}

inline std::string little_endian_16(std::uint16_t n) { return {char(n), char(n >> 8)}; }

inline std::uint32_t crc32(std::string_view bytes) {
    std::uint32_t crc = ~0u;
    for (const unsigned char byte : bytes) {
        crc ^= byte;
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0u);
    }
    return ~crc;
}

inline std::uint32_t adler32(std::string_view bytes) {
    std::uint32_t a = 1, b = 0;
    for (const unsigned char byte : bytes) {
        a = (a + byte) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

inline std::string zlib(std::string_view bytes) {
    constexpr std::size_t longest_block = 65535;
    std::string out = "\x78\x01";
    for (std::size_t at = 0; at < bytes.size(); at += longest_block) {
        const std::string_view block = bytes.substr(at, longest_block);
        const bool is_last = at + block.size() == bytes.size();
        const auto size = static_cast<std::uint16_t>(block.size());
        out += char(is_last);
        out += little_endian_16(size) + little_endian_16(~size);
        out += block;
    }
    return out + big_endian(adler32(bytes));
}

inline std::string chunk(const std::string& type, const std::string& data) {
    const std::string body = type + data;
    return big_endian(data.size()) + body + big_endian(crc32(body));
}

// `pixels` row by row from the top left, width · height of them, neither of them zero.
inline std::string encode(const std::vector<Pixel>& pixels, std::uint32_t width) {
    const auto height = static_cast<std::uint32_t>(pixels.size() / width);
    std::string rows;
    for (std::size_t i = 0; i < pixels.size(); ++i) {
        if (i % width == 0) rows += '\0';  // the row's filter: none
        rows += {char(pixels[i].red), char(pixels[i].green), char(pixels[i].blue)};
    }
    const std::string eight_bit_rgb{"\x08\x02\x00\x00\x00", 5};
    return "\x89PNG\r\n\x1a\n" +
           chunk("IHDR", big_endian(width) + big_endian(height) + eight_bit_rgb) +
           chunk("IDAT", zlib(rows)) + chunk("IEND", "");
}

}  // namespace png
