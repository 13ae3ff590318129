// Which GPUs the program has, by the CUDA runtime.
//
//     ./visible [unbound]
//
// `unbound` forgets CUDA_VISIBLE_DEVICES first: what is seen then is what the box itself lets through.
//
//     visible: 1 devices
//     visible: 6d9f0e2a-0000-0000-0000-000000000000 143771 MiB NVIDIA H200

#include <cstring>

#include "check.cuh"

int main(int argc, char** argv) {
    if (argc > 1 && std::strcmp(argv[1], "unbound") == 0) unsetenv("CUDA_VISIBLE_DEVICES");
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver) {  // the latter: no driver at all
        std::printf("visible: 0 devices\nvisible: %s\n", cudaGetErrorString(status));
        return 0;
    }
    CHECK(status);
    std::printf("visible: %d devices\n", count);
    for (int device = 0; device < count; ++device) {
        cudaDeviceProp gpu;
        CHECK(cudaGetDeviceProperties(&gpu, device));
        CHECK(cudaSetDevice(device));
        CHECK(cudaFree(nullptr));  // it can be used, too
        std::printf("visible: %s %zu MiB %s\n", uuid_of(device).c_str(), gpu.totalGlobalMem >> 20, gpu.name);
    }
    return 0;
}
