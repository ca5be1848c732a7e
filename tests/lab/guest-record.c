// Records for guest-init, whose shell would start six programs for each: under TCG that is most of
// what a guest does.
//
//   guest-record put DISK SEED N          writes record N with O_DIRECT and flushes it; exit 3: the
//                                         disk ends before, 1: it could not be written
//   guest-record count DISK SEED LAST     prints how many whole records there are from block 0 on,
//                                         up to LAST (-1: no matter) and to the first block that is
//                                         not its record. What is wrong with that one, if it is not
//                                         all zeroes, goes to stderr.
#define _GNU_SOURCE  // O_DIRECT
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record.h"

enum { kBlock = 4096 };
static u8 wanted[kBlock] __attribute__((aligned(kBlock)));
static u8 found[kBlock];

static int open_disk(const char* disk, int flags, off_t* blocks) {
    char path[64];
    snprintf(path, sizeof path, "/dev/%s", disk);
    const int file = open(path, flags | O_CLOEXEC);
    if (file >= 0) *blocks = lseek(file, 0, SEEK_END) / kBlock;
    return file;
}

static int put(const char* disk, const char* seed, u32 number) {
    off_t blocks;
    const int file = open_disk(disk, O_WRONLY | O_DIRECT, &blocks);
    if (file < 0) return 1;
    if (number >= blocks) return 3;
    make_record(disk, number, seed, wanted);
    if (pwrite(file, wanted, kBlock, (off_t)number * kBlock) != kBlock) return 1;
    return fsync(file) != 0;
}

static void say_what_is_wrong(u32 number) {
    char start[61] = "";
    int empty = 1;
    for (int i = 0; i < kBlock; ++i) empty &= !found[i];
    if (empty) return;
    for (int i = 0; i < 60; ++i) start[i] = found[i] < ' ' || found[i] > '~' ? '?' : (char)found[i];
    fprintf(stderr, "block %u is neither record %u nor empty: %s\n", number, number, start);
}

static int count(const char* disk, const char* seed, long last) {
    off_t blocks;
    u32 number = 0;
    const int file = open_disk(disk, O_RDONLY, &blocks);
    if (file < 0) return 1;
    for (; number < blocks && (last < 0 || number <= last); ++number) {
        memset(found, 0, kBlock);
        const int whole = pread(file, found, kBlock, (off_t)number * kBlock) == kBlock;
        make_record(disk, number, seed, wanted);
        if (!whole || memcmp(found, wanted, kBlock) != 0) {
            if (whole)
                say_what_is_wrong(number);
            else
                fprintf(stderr, "block %u cannot be read\n", number);
            break;
        }
    }
    printf("%u\n", number);
    return 0;
}

int main(int words, char** word) {
    if (words == 5 && strcmp(word[1], "put") == 0)
        return put(word[2], word[3], (u32)strtoul(word[4], 0, 10));
    if (words == 5 && strcmp(word[1], "count") == 0)
        return count(word[2], word[3], strtol(word[4], 0, 10));
    return 2;
}
