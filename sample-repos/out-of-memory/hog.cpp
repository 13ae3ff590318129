// Takes memory, 4 MiB at a time, until the limit of the manifest (64 MiB) ends it. Prints:
//
//     holding 4 MiB
//     holding 8 MiB
//     ...
//
// Where nobody enforces the limit it gives up at 1 GiB, to spare the machine.

#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

int main() {
    constexpr std::size_t mebibyte = 1 << 20, block_size = 4 * mebibyte, most = 1024 * mebibyte;
    std::vector<std::unique_ptr<char[]>> blocks;
    while (blocks.size() * block_size < most) {
        blocks.emplace_back(new char[block_size]);
        std::memset(blocks.back().get(), 'x', block_size);  // unwritten pages cost nothing
        std::printf("holding %zu MiB\n", blocks.size() * block_size / mebibyte);
        std::fflush(stdout);
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
    std::printf("nobody stopped me\n");
}
