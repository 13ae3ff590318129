// Takes what it has reserved of a GPU, keeps it for a while, and looks whether anybody else has written there.
//
//     ./share MIB SECONDS
//
// A CUDA context takes memory itself, and that counts: `context_mib` of the reservation is left to it.
//
//     share: rank 2 held 20000 MiB of 20640 MiB from 1764061234.120 to 1764061237.131, 0 words wrong

#include <chrono>
#include <thread>

#include "check.cuh"

constexpr size_t context_mib = 640;
using Word = unsigned long long;

__global__ void write(Word* words, size_t n, Word seed) {
    const size_t step = size_t(gridDim.x) * blockDim.x;
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) words[i] = seed ^ i;
}

__global__ void count_wrong(const Word* words, size_t n, Word seed, Word* wrong) {
    const size_t step = size_t(gridDim.x) * blockDim.x;
    Word mine = 0;
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) mine += words[i] != (seed ^ i);
    if (mine) atomicAdd(wrong, mine);
}

double now_s() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

int main(int argc, char** argv) {
    const size_t reserved_mib = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
    const double seconds = argc > 2 ? std::atof(argv[2]) : 3;
    const char* rank = std::getenv("RANK");
    if (reserved_mib <= context_mib) {
        std::fprintf(stderr, "share: MIB is more than %zu, which a context takes\n", context_mib);
        return 2;
    }
    const size_t mib = reserved_mib - context_mib, n = (mib << 20) / sizeof(Word);
    const Word seed = 0x9e3779b97f4a7c15ull * (1 + std::strtoull(rank ? rank : "0", nullptr, 10));

    Word *words = nullptr, *wrong = nullptr, found = 0;
    CHECK(cudaMalloc(&words, n * sizeof(Word)));
    CHECK(cudaMalloc(&wrong, sizeof(Word)));
    CHECK(cudaMemset(wrong, 0, sizeof(Word)));
    write<<<1024, 256>>>(words, n, seed);
    CHECK(cudaGetLastError());
    CHECK(cudaDeviceSynchronize());

    const double from_s = now_s();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    count_wrong<<<1024, 256>>>(words, n, seed, wrong);
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy(&found, wrong, sizeof found, cudaMemcpyDeviceToHost));
    std::printf("share: rank %s held %zu MiB of %zu MiB from %.3f to %.3f, %llu words wrong\n", rank ? rank : "0",
                mib, reserved_mib, from_s, now_s(), found);
    return found != 0;
}
