// Goes into each of these repositories: a failed call of CUDA ends the program, in words and with exit code 1.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#define CHECK(call) check(call, #call, __LINE__)

inline void check(cudaError_t status, const char* call, int line) {
    if (status == cudaSuccess) return;
    std::fprintf(stderr, "line %d: %s: %s\n", line, call, cudaGetErrorString(status));
    std::exit(1);
}

// As the driver and CUDA_VISIBLE_DEVICES write it, but for the `GPU-` or `MIG-` in front.
inline std::string uuid_of(int device) {
    cudaDeviceProp gpu;
    CHECK(cudaGetDeviceProperties(&gpu, device));
    std::string text;
    for (int i = 0; i < 16; ++i) {
        char hex[3];
        std::snprintf(hex, sizeof hex, "%02x", static_cast<unsigned char>(gpu.uuid.bytes[i]));
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += hex;
    }
    return text;
}
