/* A stand-in for libnvidia-ml.so.1, so that the real pynvml path runs on a machine without a driver.

   The world is the text file named by FAKE_NVML, read anew at each call, so that a test changes it while a
   program runs. A line is one GPU:  UUID NAME TOTAL_MIB USED_MIB PERCENT WATTS CELSIUS CAPABILITY PIDS [ECC_ERRORS]
   NAME has no blanks; PIDS is `-` or process ids with commas; a line that begins with `lost` is a GPU that fell
   off the bus. Beside it, a file with `.xid` after the name has a line `INDEX XID` for each event, in order. Return codes: https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND = 6, INSUFFICIENT_SIZE, DRIVER_NOT_LOADED = 9, TIMEOUT = 10, GPU_IS_LOST = 15 };
enum { MAX_GPUS = 16, MAX_PIDS = 64 };

typedef struct {
    char uuid[96], name[96];
    unsigned long long total_mib, used_mib;
    unsigned percent, watts;
    int celsius, major, minor, lost, pid_count, counts_ecc;
    unsigned long long ecc_errors;
    unsigned pids[MAX_PIDS];
} Gpu;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } ProcessInfo;

static __thread Gpu gpus[MAX_GPUS];
static __thread int count;

static void read_pids(Gpu *gpu, char *words) {
    char *rest;
    for (char *word = strtok_r(words, ",", &rest); word && gpu->pid_count < MAX_PIDS; word = strtok_r(NULL, ",", &rest))
        if (*word != '-') gpu->pids[gpu->pid_count++] = (unsigned)atoi(word);
}

static int load(void) {
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[1024], pids[512];
    if (!file) return DRIVER_NOT_LOADED;
    count = 0;
    while (count < MAX_GPUS && fgets(line, sizeof line, file)) {
        Gpu *gpu = &gpus[count];
        memset(gpu, 0, sizeof *gpu);
        if (!strncmp(line, "lost", 4)) { gpu->lost = 1; count++; continue; }
        int fields = sscanf(line, "%95s %95s %llu %llu %u %u %d %d.%d %511s %llu", gpu->uuid, gpu->name, &gpu->total_mib, &gpu->used_mib,
                            &gpu->percent, &gpu->watts, &gpu->celsius, &gpu->major, &gpu->minor, pids, &gpu->ecc_errors);
        if (fields < 10) continue;
        gpu->counts_ecc = fields == 11;
        read_pids(gpu, pids);
        count++;
    }
    fclose(file);
    return SUCCESS;
}

static int find(void *handle, Gpu **gpu) {
    int error = load();
    size_t index = (size_t)handle - 1;
    if (error) return error;
    if (index >= (size_t)count) return INVALID_ARGUMENT;
    *gpu = &gpus[index];
    return (*gpu)->lost ? GPU_IS_LOST : SUCCESS;
}

static int copy(char *out, unsigned size, const char *text) {
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return SUCCESS;
}

#define WITH_GPU(handle) Gpu *gpu; int error = find(handle, &gpu); if (error) return error

int nvmlInitWithFlags(unsigned flags) { (void)flags; return load(); }
int nvmlInit_v2(void) { return load(); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Error"; }
int nvmlSystemGetDriverVersion(char *out, unsigned size) { return copy(out, size, "580.00"); }
int nvmlDeviceGetCount_v2(unsigned *out) { int error = load(); *out = (unsigned)count; return error; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    Gpu *gpu;
    *handle = (void *)(size_t)(index + 1);
    return find(*handle, &gpu);
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    int error = load();
    if (error) return error;
    for (int i = 0; i < count; i++)
        if (!strcmp(gpus[i].uuid, uuid)) { *handle = (void *)(size_t)(i + 1); return gpus[i].lost ? GPU_IS_LOST : SUCCESS; }
    return NOT_FOUND;
}
int nvmlDeviceGetUUID(void *handle, char *out, unsigned size) { WITH_GPU(handle); return copy(out, size, gpu->uuid); }
int nvmlDeviceGetName(void *handle, char *out, unsigned size) { WITH_GPU(handle); return copy(out, size, gpu->name); }
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    WITH_GPU(handle);
    *major = gpu->major, *minor = gpu->minor;
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    WITH_GPU(handle);
    memory->total = gpu->total_mib << 20, memory->used = gpu->used_mib << 20, memory->free = memory->total - memory->used;
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *handle, Utilization *use) { WITH_GPU(handle); use->gpu = gpu->percent, use->memory = 0; return SUCCESS; }
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) { WITH_GPU(handle); *milliwatts = gpu->watts * 1000; return SUCCESS; }
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius) { WITH_GPU(handle); (void)sensor; *celsius = (unsigned)gpu->celsius; return SUCCESS; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *size, ProcessInfo *out) {
    WITH_GPU(handle);
    unsigned room = *size;
    *size = (unsigned)gpu->pid_count;
    if (room < *size) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *size; i++) out[i] = (ProcessInfo){gpu->pids[i], 0, ~0u, ~0u};
    return SUCCESS;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *size, ProcessInfo *out) { (void)out; WITH_GPU(handle); *size = 0; return SUCCESS; }
int nvmlDeviceGetTotalEccErrors(void *handle, int type, int counter, unsigned long long *out) {
    WITH_GPU(handle);
    (void)type, (void)counter;
    *out = gpu->ecc_errors;
    return gpu->counts_ecc ? SUCCESS : NOT_SUPPORTED;
}

typedef struct { void *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } Event;
static int told; /* events, by this process */

int nvmlEventSetCreate(void **set) { *set = &told; return SUCCESS; }
int nvmlDeviceRegisterEvents(void *handle, unsigned long long types, void *set) { (void)types, (void)set; WITH_GPU(handle); return SUCCESS; }
int nvmlEventSetWait_v2(void *set, Event *event, unsigned timeout_ms) {
    char path[1024];
    unsigned index, xid;
    int seen = 0, found = TIMEOUT;
    (void)set, (void)timeout_ms;
    snprintf(path, sizeof path, "%s.xid", getenv("FAKE_NVML") ? getenv("FAKE_NVML") : "");
    FILE *file = fopen(path, "r");
    if (!file) return TIMEOUT;
    while (found == TIMEOUT && fscanf(file, "%u %u", &index, &xid) == 2)
        if (seen++ == told) {
            *event = (Event){(void *)(size_t)(index + 1), 8, xid, ~0u, ~0u};
            told++, found = SUCCESS;
        }
    fclose(file);
    return found;
}
