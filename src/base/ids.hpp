#pragma once

#include "base/error.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

namespace understudy::base {

using UuidBytes = std::array<std::uint8_t, 16>;

std::string format_uuid(const UuidBytes& bytes);      // lower case, 8-4-4-4-12
Result<UuidBytes> parse_uuid(std::string_view text);  // exactly 8-4-4-4-12 hex digits
UuidBytes random_uuid();                              // version 4, from the kernel's generator
UuidBytes uuid_from_random(std::uint64_t high, std::uint64_t low);  // version 4 from given bits

// A UUID that names one kind of thing. Ids of different kinds are different types.
template <class Tag>
class Id {
public:
    Id() = default;  // nil
    explicit Id(const UuidBytes& bytes) : bytes_(bytes) {}

    static Id random() { return Id(random_uuid()); }
    static Result<Id> parse(std::string_view text) {
        auto bytes = UNDERSTUDY_VALUE(parse_uuid(text));
        return Id(bytes);
    }

    const UuidBytes& bytes() const { return bytes_; }
    std::string text() const { return format_uuid(bytes_); }
    bool is_nil() const { return bytes_ == UuidBytes{}; }
    auto operator<=>(const Id&) const = default;

private:
    UuidBytes bytes_{};
};

using ClusterId = Id<struct ClusterTag>;
using VmId = Id<struct VmTag>;              // the libvirt UUID
using VolumeId = Id<struct VolumeTag>;      // one disk of one VM; the same id on every cluster
using SnapshotId = Id<struct SnapshotTag>;  // the same id on every cluster
using TransferId = Id<struct TransferTag>;
using TaskId = Id<struct TaskTag>;

}  // namespace understudy::base

template <class Tag>
struct std::hash<understudy::base::Id<Tag>> {
    std::size_t operator()(const understudy::base::Id<Tag>& id) const noexcept {
        std::size_t value;
        std::memcpy(&value, id.bytes().data(), sizeof value);
        return value;
    }
};

namespace understudy {
using base::ClusterId;
using base::SnapshotId;
using base::TaskId;
using base::TransferId;
using base::VmId;
using base::VolumeId;
}  // namespace understudy
