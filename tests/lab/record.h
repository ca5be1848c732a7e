// The records that guests write (see guest-init), made without any library: for quick-guest.c,
// which has none, and guest-record.c. tests/lab/records checks them on the host with code of its
// own.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

static char* put_text(char* to, const char* text) {
    while (*text) *to++ = *text++;
    return to;
}

static char* put_number(char* to, u32 number) {
    char digits[10];
    int count = 0;
    do digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count) *to++ = digits[--count];
    return to;
}

// SHA-256, FIPS 180-4.
static const u32 kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
static const u32 kFirst[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                              0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static u32 turn(u32 x, int by) {
    return x >> by | x << (32 - by);
}

static void digest_block(u32* state, const u8* data) {
    static u32 w[64];
    u32 s[8];
    for (int i = 0; i < 16; ++i, data += 4)
        w[i] = (u32)data[0] << 24 | (u32)data[1] << 16 | (u32)data[2] << 8 | data[3];
    for (int i = 16; i < 64; ++i)
        w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (int i = 0; i < 8; ++i) s[i] = state[i];
    for (int i = 0; i < 64; ++i) {
        const u32 a = s[0], b = s[1], c = s[2], e = s[4];
        const u32 one = s[7] + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) +
                        ((e & s[5]) ^ (~e & s[6])) + kRound[i] + w[i];
        const u32 two = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        for (int j = 7; j > 0; --j) s[j] = s[j - 1];
        s[4] += one, s[0] = one + two;
    }
    for (int i = 0; i < 8; ++i) state[i] += s[i];
}

enum { kText = 4031 };  // bytes of a record before its digest

static void make_record(const char* disk, u32 number, const char* seed, u8* record) {
    static u8 tail[64];  // what the digest's padding adds to the last 63 bytes
    static const char hex[] = "0123456789abcdef";
    u32 state[8];
    char* end = put_text((char*)record, "understudy record ");
    end = put_number(end, number);
    end = put_text(put_text(end, " disk "), disk);
    end = put_text(put_text(put_text(end, " seed "), seed), " ");
    while (end < (char*)record + kText) *end++ = ' ';
    for (int i = 0; i < 8; ++i) state[i] = kFirst[i];
    for (int i = 0; i + 64 <= kText; i += 64) digest_block(state, record + i);
    for (int i = 0; i < 64; ++i) tail[i] = i < 63 ? record[kText - 63 + i] : 0x80;
    digest_block(state, tail);
    for (int i = 0; i < 64; ++i) tail[i] = 0;
    tail[62] = kText * 8 >> 8, tail[63] = kText * 8 & 255;
    digest_block(state, tail);
    for (int i = 0; i < 64; ++i) *end++ = hex[state[i / 8] >> (28 - i % 8 * 4) & 15];
    *end = '\n';
}
