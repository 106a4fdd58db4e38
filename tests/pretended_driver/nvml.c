/* A pretended libnvidia-ml.so.1: answers as NVIDIA's driver would on the machine that a text file describes.
 *
 * Built with -DDRIVER=<major version>, so that what an old driver lacks is really not there. The file (see hook.py, which
 * writes it) has a line per fact; "gpu" begins a GPU, "slice" a MIG slice of it. What is missing is not supported.
 * What a process of the container has "allocated" with pretended_allocate() is kept in another file, for all of them.
 */
#include <errno.h>
#include <signal.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MACHINE "/etc/rosetta-pretended-gpus"
#define POSES "/usr/bin/nvidia-debugdump" /* Apptainer's --nv brings along libraries and programs, and no other file */
#define USE "/dev/shm/rosetta-pretended-use"
#define MOST_DEVICES 128
#define MOST_PROCESSES 64
#define HOST_PIDS 1000000u /* a container's processes have other numbers on the host, and NVML tells those */

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, TOO_SMALL = 7, NO_DRIVER = 9, LOST = 15 };

typedef unsigned long long bytes;
typedef struct { unsigned pid; bytes memory; } process;
typedef struct { unsigned pid; bytes memory; unsigned gpu_instance, compute_instance; } process_of_slice;
typedef struct { bytes total, free, used; } memory_info;
typedef struct device {
    char name[96], uuid[96];
    struct device *parent;
    int major, minor, mig, fault, nameless;
    long long memory, power_limit, graphics_clock, memory_clock, temperature, throttle, energy;
    process processes[MOST_PROCESSES];
    unsigned n_processes;
} device;

static char driver[80];
static long long cuda = -1;
static int hidden_processes;
static device devices[MOST_DEVICES];
static unsigned n_devices;

static const char *path(const char *variable, const char *usual) {
    const char *given = getenv(variable);
    return given ? given : usual;
}

static device *begin(const char *name, device *parent) {
    device *d = &devices[n_devices < MOST_DEVICES ? n_devices++ : MOST_DEVICES - 1];
    memset(d, 0, sizeof *d);
    snprintf(d->name, sizeof d->name, "%s", name);
    d->parent = parent;
    d->major = d->mig = -1;
    d->memory = d->power_limit = d->graphics_clock = d->memory_clock = d->temperature = d->throttle = d->energy = -1;
    return d;
}

static void read_fact(device *d, const char *key, const char *value) {
    long long number = atoll(value);
    if (!strcmp(key, "uuid")) snprintf(d->uuid, sizeof d->uuid, "%s", value);
    else if (!strcmp(key, "capability")) sscanf(value, "%d %d", &d->major, &d->minor);
    else if (!strcmp(key, "mig")) d->mig = (int)number;
    else if (!strcmp(key, "memory")) d->memory = number;
    else if (!strcmp(key, "power_limit")) d->power_limit = number;
    else if (!strcmp(key, "graphics_clock")) d->graphics_clock = number;
    else if (!strcmp(key, "memory_clock")) d->memory_clock = number;
    else if (!strcmp(key, "temperature")) d->temperature = number;
    else if (!strcmp(key, "throttle")) d->throttle = number;
    else if (!strcmp(key, "energy")) d->energy = number;
    else if (!strcmp(key, "fault")) d->fault = (int)number; /* the answer in place of a handle */
    else if (!strcmp(key, "nameless")) d->nameless = (int)number; /* the answer in place of a name */
    else if (!strcmp(key, "process") && d->n_processes < MOST_PROCESSES) {
        process *p = &d->processes[d->n_processes++];
        sscanf(value, "%u %llu", &p->pid, &p->memory);
    }
}

int nvmlInit_v2(void) {
    FILE *file = fopen(path("PRETENDED_MACHINE", MACHINE), "r");
    if (!file) file = fopen(POSES, "r");
    char line[512], key[32];
    device *gpu = NULL, *d = NULL;
    if (!file) return NO_DRIVER;
    n_devices = 0;
    while (fgets(line, sizeof line, file)) {
        int start = 0;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%31s %n", key, &start) < 1) continue;
        const char *value = line + start;
        if (!strcmp(key, "driver")) snprintf(driver, sizeof driver, "%s", value);
        else if (!strcmp(key, "cuda")) cuda = atoll(value);
        else if (!strcmp(key, "hidden_processes")) hidden_processes = atoi(value);
        else if (!strcmp(key, "gpu")) d = gpu = begin(value, NULL);
        else if (!strcmp(key, "slice")) d = begin(value, gpu);
        else if (d) read_fact(d, key, value);
    }
    fclose(file);
    return SUCCESS;
}
int nvmlInit(void) { return nvmlInit_v2(); }
int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) {
    switch (code) {
    case SUCCESS: return "Success";
    case INVALID: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case LOST: return "GPU is lost";
    case NOT_FOUND: return "Not Found";
    case TOO_SMALL: return "Insufficient Size";
    case NO_DRIVER: return "Driver Not Loaded";
    default: return "Unknown Error";
    }
}

/* --- what the container's processes use ----------------------------------------------------------------------------- */

/* The process list of a device with those of this container; at most MOST_PROCESSES. */
static unsigned list(device *d, process *out) {
    unsigned count = d->n_processes, pid;
    char uuid[96];
    bytes size;
    memcpy(out, d->processes, count * sizeof *out);
    FILE *file = fopen(path("PRETENDED_USE", USE), "r");
    if (!file) return count;
    while (fscanf(file, "%95s %u %llu", uuid, &pid, &size) == 3) {
        unsigned place = d->n_processes;
        if (strcmp(uuid, d->uuid)) continue;
        if (kill(pid, 0) && errno == ESRCH) continue; /* it has ended, and its memory is free */
        while (place < count && out[place].pid != pid + HOST_PIDS) place++;
        if (place == count) {
            if (count == MOST_PROCESSES) continue;
            out[count].pid = pid + HOST_PIDS;
            out[count++].memory = 0;
        }
        out[place].memory += size;
    }
    fclose(file);
    return count;
}

/* The number of a slice's GPU instance: from 1 on, as that of the whole GPU is 0. */
static unsigned instance(device *d) { return (unsigned)(d - d->parent); }

static device *usable(unsigned index) {
    for (unsigned i = 0; i < n_devices; i++)
        if (devices[i].mig != 1 && index-- == 0) return &devices[i];
    return NULL;
}

/* The GPU of this number; its first slice if it is divided. */
static device *gpu_or_slice(unsigned number) {
    for (unsigned i = 0; i < n_devices; i++)
        if (!devices[i].parent && number-- == 0) return &devices[devices[i].mig == 1 ? i + 1 : i];
    return NULL;
}

/* The device that CUDA would number so: CUDA_VISIBLE_DEVICES, if it is set, lists UUIDs and numbers. */
static device *numbered(unsigned index) {
    const char *told = getenv("CUDA_VISIBLE_DEVICES");
    char names[2048];
    if (!told) return usable(index);
    snprintf(names, sizeof names, "%s", told);
    for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
        if (index-- > 0) continue;
        if (name[0] >= '0' && name[0] <= '9') return gpu_or_slice((unsigned)atoi(name));
        for (unsigned i = 0; i < n_devices; i++) {
            char place[sizeof devices[i].uuid + 32] = "";
            if (devices[i].parent)
                snprintf(place, sizeof place, "MIG-%s/%u/0", devices[i].parent->uuid, instance(&devices[i]));
            if (!strcmp(devices[i].uuid, name) || !strcmp(place, name)) return &devices[i];
        }
    }
    return NULL;
}

/* Takes memory of a device, which are numbered as CUDA would; 0 bytes: a process without any. Not part of NVML. */
int pretended_allocate(unsigned index, bytes size) {
    char line[160];
    int code = nvmlInit_v2();
    device *d = numbered(index);
    if (code != SUCCESS || !d) return code ? code : NOT_FOUND;
    int file = open(path("PRETENDED_USE", USE), O_WRONLY | O_APPEND | O_CREAT, 0666);
    int length = snprintf(line, sizeof line, "%s %u %llu\n", d->uuid, (unsigned)getpid(), size);
    if (file < 0 || write(file, line, length) != length) return INVALID;
    close(file);
    return SUCCESS;
}

/* --- NVML ----------------------------------------------------------------------------------------------------------- */

static int text(const char *value, char *buffer, unsigned room) {
    if (strlen(value) >= room) return TOO_SMALL;
    strcpy(buffer, value);
    return SUCCESS;
}

static int number(long long value, unsigned *out) {
    if (value < 0) return NOT_SUPPORTED;
    *out = (unsigned)value;
    return SUCCESS;
}

/* Real slices answer neither of clocks nor of power: only their GPU does. */
static int of_gpu(device *d, long long value, unsigned *out) { return number(d->parent ? -1 : value, out); }

int nvmlSystemGetDriverVersion(char *buffer, unsigned room) { return text(driver, buffer, room); }
int nvmlDeviceGetName(device *d, char *buffer, unsigned room) { return d->nameless ? d->nameless : text(d->name, buffer, room); }
int nvmlDeviceGetUUID(device *d, char *buffer, unsigned room) { return text(d->uuid, buffer, room); }
int nvmlDeviceGetEnforcedPowerLimit(device *d, unsigned *out) { return of_gpu(d, d->power_limit, out); }
int nvmlDeviceGetTemperature(device *d, int sensor, unsigned *out) { return sensor ? INVALID : of_gpu(d, d->temperature, out); }

int nvmlDeviceGetClockInfo(device *d, int kind, unsigned *out) {
    return kind != 0 && kind != 2 ? INVALID : of_gpu(d, kind ? d->memory_clock : d->graphics_clock, out);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(device *d, bytes *out) {
    unsigned reasons;
    int code = of_gpu(d, d->throttle, &reasons);
    if (code == SUCCESS) *out = reasons;
    return code;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = 0;
    for (unsigned i = 0; i < n_devices; i++) *count += !devices[i].parent;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **out) {
    for (unsigned i = 0; i < n_devices; i++)
        if (!devices[i].parent && index-- == 0) { *out = &devices[i]; return devices[i].fault; }
    return INVALID;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, device **out) {
    for (unsigned i = 0; i < n_devices; i++)
        if (!strcmp(devices[i].uuid, uuid)) { *out = &devices[i]; return SUCCESS; }
    return NOT_FOUND;
}

int nvmlDeviceGetMemoryInfo(device *d, memory_info *out) {
    process found[MOST_PROCESSES];
    unsigned count = list(d, found);
    if (d->memory < 0) return NOT_SUPPORTED;
    out->total = d->memory;
    out->used = 0;
    for (unsigned i = 0; i < count; i++) out->used += found[i].memory;
    out->free = out->total - out->used;
    return SUCCESS;
}

/* Writes at most *count processes into entries of a size; the rules for a list that is too short are NVML's. */
static int processes(device *d, unsigned *count, char *out, size_t size) {
    process found[MOST_PROCESSES];
    unsigned there = hidden_processes ? 0 : list(d, found), room = *count;
    *count = there;
    if (there > room) return TOO_SMALL;
    for (unsigned i = 0; i < there; i++) {
        process_of_slice entry = {found[i].pid, found[i].memory, ~0u, ~0u};
        memcpy(out + i * size, &entry, size);
    }
    return SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses(device *d, unsigned *count, char *out) {
    return processes(d, count, out, sizeof(process));
}

#if DRIVER >= 396 /* 375 and 384 have none of these */
int nvmlSystemGetCudaDriverVersion(int *out) { return number(cuda, (unsigned *)out); }

int nvmlDeviceGetCudaComputeCapability(device *d, int *major, int *minor) {
    if (d->parent || d->major < 0) return NOT_SUPPORTED;
    *major = d->major;
    *minor = d->minor;
    return SUCCESS;
}

/* Millijoules; every card takes 100 W, whatever it does. */
int nvmlDeviceGetTotalEnergyConsumption(device *d, bytes *out) {
    struct timespec now;
    if (d->parent || d->energy < 0) return NOT_SUPPORTED;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *out = d->energy + 100000ull * now.tv_sec + now.tv_nsec / 10000;
    return SUCCESS;
}
#endif

#if DRIVER >= 450 /* the first with MIG */
int nvmlDeviceGetMigMode(device *d, unsigned *current, unsigned *pending) {
    if (d->parent || d->mig < 0) return NOT_SUPPORTED;
    *current = *pending = (unsigned)d->mig;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *out) { return number(d->mig < 0 ? 0 : 7, out); }

int nvmlDeviceGetGpuInstanceId(device *d, unsigned *out) { return number(d->parent ? (long long)instance(d) : -1, out); }
int nvmlDeviceGetComputeInstanceId(device *d, unsigned *out) { return number(d->parent ? 0 : -1, out); }

/* The first number is free, as after a slice was given up. */
int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned index, device **out) {
    for (unsigned i = 0, place = 1; i < n_devices; i++)
        if (devices[i].parent == d && place++ == index) { *out = &devices[i]; return SUCCESS; }
    return NOT_FOUND;
}
#endif

#if DRIVER >= 460
int nvmlDeviceGetComputeRunningProcesses_v2(device *d, unsigned *count, char *out) {
    return processes(d, count, out, sizeof(process_of_slice));
}
#endif

#if DRIVER >= 510
int nvmlDeviceGetComputeRunningProcesses_v3(device *d, unsigned *count, char *out) {
    return processes(d, count, out, sizeof(process_of_slice));
}
#endif

/* What frameworks that are linked with NVML need to be loaded; nothing of it is asked for here. */
int nvmlDeviceGetUtilizationRates(device *d, void *out) { (void)d, (void)out; return NOT_SUPPORTED; }
int nvmlDeviceGetPciInfo_v3(device *d, void *out) { (void)d, (void)out; return NOT_SUPPORTED; }
int nvmlSystemGetProcessName(unsigned pid, char *out, unsigned room) { (void)pid, (void)out, (void)room; return NOT_SUPPORTED; }
