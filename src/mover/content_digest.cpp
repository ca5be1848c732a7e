#include "mover/content_digest.hpp"

#include "protocol/little_endian.hpp"

#include <fmt/format.h>

#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // as in digest.cpp
#else
#include <xxhash.h>
#endif

#include <array>

namespace understudy::mover {

struct ContentDigest::State {
    std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> hash{XXH3_createState(),
                                                                         XXH3_freeState};
    std::optional<model::ExtentKind> kind;  // of the run that is open
    std::uint64_t reached = 0;              // where that ends so far

    void add(std::span<const std::byte> bytes) {
        XXH3_128bits_update(hash.get(), bytes.data(), bytes.size());
    }
    void mark(char tag, std::uint64_t place) {
        std::array<std::byte, 9> bytes{};
        protocol::put(std::span(bytes), 0, static_cast<std::uint8_t>(tag));
        protocol::put(std::span(bytes), 1, place);
        add(bytes);
    }
};

ContentDigest::ContentDigest() : state_(std::make_unique<State>()) {
    UNDERSTUDY_INVARIANT(state_->hash != nullptr, "no memory for a digest");
    XXH3_128bits_reset(state_->hash.get());
}

ContentDigest::~ContentDigest() = default;

void ContentDigest::begin(model::ExtentKind kind, ByteOffset offset) {
    if (state_->kind == kind && state_->reached == offset.count()) return;
    end();
    state_->kind = kind;
    state_->mark(kind == model::ExtentKind::data ? 'w' : 'z', offset.count());
}

void ContentDigest::end() {
    if (state_->kind) state_->mark('e', state_->reached);
    state_->kind.reset();
}

void ContentDigest::data(ByteOffset offset, std::span<const std::byte> content) {
    if (content.empty()) return;
    begin(model::ExtentKind::data, offset);
    state_->add(content);
    state_->reached = offset.count() + content.size();
}

void ContentDigest::zero(ByteOffset offset, ByteSize length) {
    if (length.count() == 0) return;
    begin(model::ExtentKind::zero, offset);
    state_->reached = (offset + length).count();
}

std::string ContentDigest::text() {
    end();
    const auto hash = XXH3_128bits_digest(state_->hash.get());
    return fmt::format("xxh3-128:{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace understudy::mover
