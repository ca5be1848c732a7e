// A guest that boots in well under a second under TCG: no kernel, no user space, 32 bits, one
// stack. It does what `us.mode=verify,write` of guest-init does, with the same records and the same
// lines on its serial port, on up to four virtio disks of a `pc` machine, and powers off when
// ACPI's power button is pressed. quick-guest.sh makes it; QEMU loads it as a multiboot kernel.
//
// Records: see guest-init; the seed is 0. About two of them a second.
// Lines: READY, VERIFY vda ok 0..N, VERIFY moment ok, EMPTY vda, BAD …, wrote vda N, DOWN.

#include "record.h"

asm(".section .text.unlikely,\"ax\"\n"
    ".align 4\n"
    ".long 0x1BADB002, 0, -0x1BADB002\n"  // multiboot, nothing asked for
    ".globl _start\n"
    "_start: cli; cld; mov $stack+16384, %esp; call guest\n"
    "1: hlt; jmp 1b\n"
    "on_tick: push %eax; mov $0x20, %al; outb %al, $0x20; pop %eax; iret\n"
    ".text\n");
u8 stack[16384];
extern u8 on_tick[];

static void outb(u16 port, u8 value) {
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
static void outw(u16 port, u16 value) {
    asm volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}
static void outl(u16 port, u32 value) {
    asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}
static u8 inb(u16 port) {
    u8 value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static u16 inw(u16 port) {
    u16 value;
    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static u32 inl(u16 port) {
    u32 value;
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

// ---- words ----

static void say_char(char c) {
    while (!(inb(0x3fd) & 0x20)) {
    }
    outb(0x3f8, (u8)c);
}

static void say(const char* text) {
    while (*text) say_char(*text++);
}

static void say_number(u32 number) {
    char text[11];
    *put_number(text, number) = 0;
    say(text);
}

// ---- time and the power button ----

static const u16 kPowerEvents = 0x600, kPowerEnable = 0x602, kPowerControl = 0x604;
static const u16 kPowerButton = 1 << 8;

static void set_up_ticks(void) {
    static u16 idt[48][4];
    static u64 gdt[3] = {0, 0x00cf9a000000ffffULL, 0x00cf92000000ffffULL};
    static struct {
        u16 pad, limit;
        u32 base;
    } table;
    table.limit = sizeof gdt - 1, table.base = (u32)gdt;
    asm volatile("lgdt %0; ljmp $8, $1f; 1:" : : "m"(table.limit) : "memory");
    for (int i = 0; i < 48; ++i) {
        idt[i][0] = (u16)(u32)on_tick, idt[i][1] = 8;
        idt[i][2] = 0x8e00, idt[i][3] = (u16)((u32)on_tick >> 16);
    }
    table.limit = sizeof idt - 1, table.base = (u32)idt;
    asm volatile("lidt %0" : : "m"(table.limit) : "memory");
    static const u8 pic[][2] = {{0x20, 0x11}, {0xa0, 0x11}, {0x21, 0x20}, {0xa1, 0x28},
                                {0x21, 4},    {0xa1, 2},    {0x21, 1},    {0xa1, 1},
                                {0x21, 0xfe}, {0xa1, 0xff}};
    for (int i = 0; i < 10; ++i) outb(pic[i][0], pic[i][1]);
    outb(0x43, 0x34);  // 20 times a second
    outb(0x40, 59659 & 255);
    outb(0x40, 59659 >> 8);
}

static void look_at_power_button(void) {
    if (!(inw(kPowerEvents) & kPowerButton)) return;
    say("DOWN\n");
    outw(kPowerControl, 1 << 13);
    for (;;) asm volatile("hlt");
}

static void wait_ticks(int ticks) {
    while (ticks--) {
        asm volatile("sti; hlt; cli");
        look_at_power_button();
    }
}

// ---- disks: virtio, the legacy interface, one request at a time; no flush is negotiated, so that
// QEMU makes every write durable before it is done ----

struct Ring {
    struct {
        u64 address;
        u32 length;
        u16 flags, next;
    } descriptors[256];
    u16 available_flags, available_index, available[256];
    u8 pad[4096 - 4 - 512];
    volatile u16 used_flags, used_index;
    u8 used[4096 - 4];
} __attribute__((aligned(4096)));

static struct Disk {
    u16 port;
    char name[4];
    u32 blocks, records;
} disks[4];
static struct Ring rings[4];
static int disk_count;

static u32 pci(u32 slot, u32 reg) {
    outl(0xcf8, 0x80000000u | slot << 11 | reg);
    return inl(0xcfc);
}

static void add_disk(u32 slot) {
    struct Disk* disk = &disks[disk_count];
    struct Ring* ring = &rings[disk_count];
    u32 command = pci(slot, 4) | 5;  // I/O ports, bus master
    outl(0xcfc, command);
    disk->port = (u16)(pci(slot, 0x10) & ~3u);
    put_text(disk->name, "vd");
    disk->name[2] = (char)('a' + disk_count++);
    outb(disk->port + 18, 0);
    outb(disk->port + 18, 3);  // acknowledged, there is a driver
    outl(disk->port + 4, 0);   // no features
    outw(disk->port + 14, 0);
    if (inw(disk->port + 12) != 256) say("BAD queue size\n");
    ring->available_flags = 1;  // no interrupts
    outl(disk->port + 8, (u32)ring / 4096);
    outb(disk->port + 18, 7);
    disk->blocks = inl(disk->port + 20) / 8;
}

static int transfer(struct Disk* disk, int write, u32 block, void* data) {
    static struct {
        u32 type, reserved;
        u64 sector;
    } header;
    static volatile u8 status;
    struct Ring* ring = &rings[disk - disks];
    header.type = (u32)write, header.sector = (u64)block * 8;
    status = 255;
    ring->descriptors[0].address = (u32)&header, ring->descriptors[0].length = 16;
    ring->descriptors[0].flags = 1, ring->descriptors[0].next = 1;
    ring->descriptors[1].address = (u32)data, ring->descriptors[1].length = 4096;
    ring->descriptors[1].flags = write ? 1 : 3, ring->descriptors[1].next = 2;
    ring->descriptors[2].address = (u32)&status, ring->descriptors[2].length = 1;
    ring->descriptors[2].flags = 2;
    ring->available[ring->available_index % 256] = 0;
    asm volatile("" : : : "memory");
    ++ring->available_index;
    asm volatile("mfence" : : : "memory");
    outw(disk->port + 16, 0);
    while (ring->used_index != ring->available_index) asm volatile("pause" : : : "memory");
    return status == 0;
}

// ---- records ----

static u8 wanted[4096], found[4096];

static void tell(const char* what, const struct Disk* disk, const char* how, u32 number) {
    say(what), say(disk->name), say(how), say_number(number), say("\n");
}

static void verify(struct Disk* disk) {
    for (u32 n = 0; n < disk->blocks; disk->records = ++n) {
        if (!transfer(disk, 0, n, found)) return tell("BAD ", disk, " cannot read ", n);
        make_record(disk->name, n, "0", wanted);
        int same = 1, empty = 1;
        for (int i = 0; i < 4096; ++i) same &= found[i] == wanted[i], empty &= !found[i];
        if (same) continue;
        if (!empty) return tell("BAD ", disk, " damaged at ", n);
        break;
    }
    if (disk->records)
        tell("VERIFY ", disk, " ok 0..", disk->records - 1);
    else
        tell("EMPTY ", disk, " has ", 0);
}

// Record n is on every disk before n + 1 is on any.
static void verify_moment(void) {
    for (int i = 1; i < disk_count; ++i)
        if (disks[i - 1].records - disks[i].records > 1) return say("BAD moment\n");
    say("VERIFY moment ok\n");
}

static void write_record(struct Disk* disk) {
    make_record(disk->name, disk->records, "0", wanted);
    if (!transfer(disk, 1, disk->records, wanted))
        tell("BAD ", disk, " cannot write ", disk->records);
    else
        tell("wrote ", disk, " ", disk->records++);
}

void guest(void) {
    set_up_ticks();
    outw(kPowerEvents, kPowerButton);
    outw(kPowerEnable, kPowerButton);
    for (u32 slot = 0; slot < 32; ++slot)
        if (pci(slot, 0) == 0x10011af4 && disk_count < 4) add_disk(slot);
    say("\nREADY\n");
    for (int i = 0; i < disk_count; ++i) verify(&disks[i]);
    verify_moment();
    for (;;) {
        const u32 last = disks[disk_count - 1].records;
        for (int i = 0; i < disk_count; ++i)
            if (disks[i].records == last && last < disks[i].blocks) write_record(&disks[i]);
        wait_ticks(10);
    }
}
