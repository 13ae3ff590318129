// Keeps the whole GPU at work for a while, with some memory: what telemetry must see.
//
//     ./busy SECONDS MIB
//
//     busy: 6d9f0e2a-0000-0000-0000-000000000000 at work for 5.0 s with 1024 MiB

#include <chrono>

#include "check.cuh"

// Many multiplications in registers, whose result somebody could still ask for.
__global__ void work(float* out, size_t n, int rounds) {
    const size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
    float value = 1.0f + i % 7;
    for (int round = 0; round < rounds; ++round) value = value * 0.999999f + 0.000001f;
    if (i < n) out[i] = value;
}

int main(int argc, char** argv) {
    const double seconds = argc > 1 ? std::atof(argv[1]) : 5;
    const size_t mib = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1024;
    if (seconds <= 0 || mib < 16) {
        std::fprintf(stderr, "busy: SECONDS above 0, MIB from 16\n");
        return 2;
    }
    cudaDeviceProp gpu;
    CHECK(cudaGetDeviceProperties(&gpu, 0));
    const size_t n = (mib << 20) / sizeof(float);
    float* out = nullptr;
    CHECK(cudaMalloc(&out, n * sizeof(float)));
    CHECK(cudaMemset(out, 0, n * sizeof(float)));

    const auto began = std::chrono::steady_clock::now();
    double passed_s = 0;
    while (passed_s < seconds) {
        for (int i = 0; i < 8; ++i) work<<<gpu.multiProcessorCount * 8, 256>>>(out, n, 200000);  // never idle between
        CHECK(cudaGetLastError());
        CHECK(cudaDeviceSynchronize());
        passed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    }
    CHECK(cudaFree(out));
    std::printf("busy: %s at work for %.1f s with %zu MiB\n", uuid_of(0).c_str(), passed_s, mib);
    return 0;
}
