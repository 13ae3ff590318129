// Never ends by itself, but the manifest gives it two seconds. Prints, five times a second:
//
//     0.2 s and counting

#include <chrono>
#include <cstdio>
#include <thread>

int main() {
    for (int fifths = 1;; ++fifths) {
        std::this_thread::sleep_for(std::chrono::milliseconds{200});
        std::printf("%.1f s and counting\n", fifths / 5.0);
        std::fflush(stdout);
    }
}
