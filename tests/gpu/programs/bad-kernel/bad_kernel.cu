// A kernel that does what no kernel should. The exit code is 1 if CUDA has said so, 0 if nobody noticed.
//
//     ./bad-kernel wild         writes to the first page, where nothing can lie       (Xid 31)
//     ./bad-kernel beyond       writes 1 TiB behind the end of its memory             (Xid 31)
//     ./bad-kernel misaligned   writes a number of four bytes to an odd address       (Xid 13)
//     ./bad-kernel endless      never ends: the time-out is the end of it
//
// Prints what it is about to do and on which GPU, and what CUDA said of it:
//
//     bad-kernel: wild on 6d9f0e2a-0000-0000-0000-000000000000
//     bad-kernel: an illegal memory access was encountered

#include <cstdint>

#include "check.cuh"

__global__ void store(int* where) { *where = 1; }

__global__ void wait_for(const volatile int* flag) {
    while (*flag == 0) {
    }
}

// Where the bad one of `kind` writes; `memory` is ours. As a number, so that no compiler thinks about it.
uintptr_t bad_address(const std::string& kind, const int* memory) {
    const uintptr_t ours = reinterpret_cast<uintptr_t>(memory);
    if (kind == "wild") return 16;
    return kind == "beyond" ? ours + (uintptr_t{1} << 40) : ours + 1;
}

int main(int argc, char** argv) {
    const std::string kind = argc > 1 ? argv[1] : "";
    if (kind != "wild" && kind != "beyond" && kind != "misaligned" && kind != "endless") {
        std::fprintf(stderr, "bad-kernel: one of wild, beyond, misaligned, endless\n");
        return 2;
    }
    int* memory = nullptr;
    CHECK(cudaMalloc(&memory, 1 << 20));
    CHECK(cudaMemset(memory, 0, 1 << 20));
    std::printf("bad-kernel: %s on %s\n", kind.c_str(), uuid_of(0).c_str());
    std::fflush(stdout);

    if (kind == "endless") {
        wait_for<<<1, 1>>>(memory);
    } else {
        store<<<1, 1>>>(reinterpret_cast<int*>(bad_address(kind, memory)));
    }
    CHECK(cudaGetLastError());
    const cudaError_t status = cudaDeviceSynchronize();
    std::printf("bad-kernel: %s\n", status == cudaSuccess ? "nobody noticed" : cudaGetErrorString(status));
    return status != cudaSuccess;
}
