// Draws a piece of the Mandelbrot set, the "seahorse valley", and writes it to mandelbrot.png in
// $HERMES_OUTPUT_DIR: whatever a run leaves in that folder is kept as an artifact.
//
// A point c belongs to the set if z → z² + c, from z = 0, stays bounded. The others are coloured by
// the smooth iteration count n + 4 - log2(log2 |z|²) for the bailout |z| > 256
// (https://iquilezles.org/articles/msetsmooth/) with a cosine palette
// (https://iquilezles.org/articles/palettes/).
//
// Prints lines like this one, which set the progress that the run's page shows, then the file:
//
//     ::hermes progress 0.40 row 192 of 480
//     wrote /out/mandelbrot.png, 640 x 480

#include "png.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

constexpr int width = 640, height = 480;
constexpr int samples_per_side = 3;  // of a pixel, against jagged edges
constexpr int max_iterations = 2000;
constexpr double center_x = -0.7436, center_y = 0.1318, view_width = 0.012;

struct Colour {
    double red = 0, green = 0, blue = 0;
};

Colour palette(double t) {
    const auto wave = [t](double phase) { return 0.5 + 0.5 * std::cos(3.0 + t + phase); };
    return {wave(0.0), wave(0.6), wave(1.0)};
}

Colour colour_of(double cx, double cy) {
    double x = 0, y = 0;
    for (int n = 0; n < max_iterations; ++n) {
        const double xx = x * x, yy = y * y;
        if (xx + yy > 256.0 * 256.0) {
            const double smooth = n + 4 - std::log2(std::log2(xx + yy));
            return palette(0.6 * std::sqrt(smooth));
        }
        y = 2 * x * y + cy;
        x = xx - yy + cx;
    }
    return {};
}

png::Pixel pixel_at(int column, int row) {
    constexpr double step = view_width / width / samples_per_side;
    constexpr int samples = samples_per_side * samples_per_side;
    Colour sum;
    for (int i = 0; i < samples; ++i) {
        const int right = column * samples_per_side + i % samples_per_side;
        const int down = row * samples_per_side + i / samples_per_side;
        const Colour colour = colour_of(center_x + (right - width * samples_per_side / 2) * step,
                                        center_y - (down - height * samples_per_side / 2) * step);
        sum.red += colour.red;
        sum.green += colour.green;
        sum.blue += colour.blue;
    }
    const auto byte = [](double total) { return std::uint8_t(std::lround(255 * total / samples)); };
    return {byte(sum.red), byte(sum.green), byte(sum.blue)};
}

int main() {
    std::vector<png::Pixel> pixels;
    pixels.reserve(width * height);
    for (int row = 0; row < height; ++row) {
        for (int column = 0; column < width; ++column) pixels.push_back(pixel_at(column, row));
        const int done = row + 1;
        if (done % (height / 10) == 0) {
            const double part = double(done) / height;
            std::printf("::hermes progress %.2f row %d of %d\n", part, done, height);
            std::fflush(stdout);  // or the line would wait in a buffer
        }
    }

    const char* folder = std::getenv("HERMES_OUTPUT_DIR");
    const auto path = std::filesystem::path{folder ? folder : "."} / "mandelbrot.png";
    std::ofstream file{path, std::ios::binary};
    file << png::encode(pixels, width);
    file.close();
    if (!file) {
        std::fprintf(stderr, "mandelbrot: cannot write %s\n", path.c_str());
        return 1;
    }
    std::printf("wrote %s, %d x %d\n", path.c_str(), width, height);
}
