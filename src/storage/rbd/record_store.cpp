#include "storage/rbd/record_store.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <set>
#include <utility>

// The records of volumes in the key-value map of one object. Each change is one operation of Ceph
// that first compares what it replaces, and is whole or not there after a crash. If two nodes
// change a volume at once, the second one is told to try again. The same operation sets and removes
// the image/ keys, by which an image belongs to at most one volume.

namespace understudy::rbd {
namespace {

librados::bufferlist to_buffer(const std::string& text) {
    librados::bufferlist buffer;
    buffer.append(text);
    return buffer;
}

std::string volume_key(const VolumeId& id) {
    return "volume/" + id.text();
}
std::string forgotten_key(const VolumeId& id) {
    return "forgotten/" + id.text();
}
std::string image_key(const std::string& name) {
    return "image/" + name;
}

}  // namespace

std::atomic<CrashHook> crash_hook{nullptr};

struct RecordStore::Change {
    std::map<std::string, std::string> expected;  // empty: the key is not there
    std::map<std::string, std::string> set;
    std::set<std::string> removed;

    void take_image(const VolumeId& id, const std::string& name) {
        expected[image_key(name)] = {};
        set[image_key(name)] = id.text();
    }
};

Result<std::optional<std::string>> RecordStore::value_of(const std::string& key) const {
    auto connection = UNDERSTUDY_VALUE(cluster_->connect());
    std::map<std::string, librados::bufferlist> values;
    const int result = connection->io.omap_get_vals_by_keys(kRecordsObject, {key}, &values);
    if (result == -ENOENT) return std::nullopt;
    if (result < 0) return fail(cluster_->error(result, "read the records of volumes"));
    const auto found = values.find(key);
    if (found == values.end()) return std::nullopt;
    return found->second.to_str();
}

Result<std::optional<StoredRecord>> RecordStore::read(const std::string& key) const {
    auto text = UNDERSTUDY_VALUE(value_of(key));
    if (!text) return std::nullopt;
    auto record = read_record(*text);
    if (!record)
        return fail(std::move(record.error())
                        .during(fmt::format("read key {} of object {} in {}", key, kRecordsObject,
                                            cluster_->where()))
                        .advising("Nothing was changed; put back a good copy with "
                                  "`rados setomapval`."));
    return StoredRecord{.record = std::move(*record), .text = std::move(*text)};
}

Result<std::optional<StoredRecord>> RecordStore::volume(const VolumeId& id) const {
    return read(volume_key(id));
}

Result<std::optional<StoredRecord>> RecordStore::forgotten(const VolumeId& id) const {
    return read(forgotten_key(id));
}

Result<std::optional<std::string>> RecordStore::owner_of(const std::string& image) const {
    return value_of(image_key(image));
}

Result<> RecordStore::apply(const VolumeId& id, const Change& change) const {
    auto connection = UNDERSTUDY_VALUE(cluster_->connect());
    std::map<std::string, std::pair<librados::bufferlist, int>> expected;
    for (const auto& [key, value] : change.expected)
        expected[key] = {to_buffer(value), LIBRADOS_CMPXATTR_OP_EQ};
    std::map<std::string, librados::bufferlist> set;
    for (const auto& [key, value] : change.set) set[key] = to_buffer(value);
    librados::ObjectWriteOperation operation;
    operation.create(false);  // a comparison needs the object
    operation.omap_cmp(expected, nullptr);
    if (!change.removed.empty()) operation.omap_rm_keys(change.removed);
    if (!set.empty()) operation.omap_set(set);
    const int result = connection->io.operate(kRecordsObject, &operation);
    if (result == -ECANCELED)
        return fail(Error(ErrorKind::unavailable,
                          fmt::format("volume {} was changed by another node meanwhile", id.text()))
                        .advising("Repeat; the call starts from what is there then."));
    if (result < 0) return fail(cluster_->error(result, "record volume " + id.text()));
    crash_point("recorded");
    return {};
}

Result<> RecordStore::save(const VolumeId& id, StoredRecord& stored) const {
    auto text = write_record(stored.record);
    if (text == stored.text) return {};
    std::set<std::string> before;
    if (!stored.text.empty()) {
        auto old = UNDERSTUDY_VALUE(read_record(stored.text));
        before = old.image_names();
    }
    const auto after = stored.record.image_names();
    Change change{.expected = {{volume_key(id), stored.text}},
                  .set = {{volume_key(id), text}},
                  .removed = {}};
    for (const auto& name : after) {
        if (before.contains(name)) continue;
        auto owner = UNDERSTUDY_VALUE(owner_of(name));
        if (owner)
            return fail(ErrorKind::conflict,
                        fmt::format("image {} is part of volume {} already", name, *owner));
        change.take_image(id, name);
    }
    for (const auto& name : before)
        if (!after.contains(name)) change.removed.insert(image_key(name));
    UNDERSTUDY_TRY(apply(id, change));
    stored.text = std::move(text);
    return {};
}

Result<> RecordStore::remove(const VolumeId& id, const StoredRecord& stored) const {
    Change change{.expected = {{volume_key(id), stored.text}}, .set = {}, .removed = {}};
    change.removed.insert(volume_key(id));
    for (const auto& name : stored.record.image_names()) change.removed.insert(image_key(name));
    return apply(id, change);
}

Result<> RecordStore::set_aside(const VolumeId& id, const StoredRecord& stored) const {
    Change change{.expected = {{volume_key(id), stored.text}},
                  .set = {{forgotten_key(id), stored.text}},
                  .removed = {}};
    change.removed.insert(volume_key(id));
    for (const auto& name : stored.record.image_names()) change.removed.insert(image_key(name));
    return apply(id, change);
}

Result<> RecordStore::restore(const VolumeId& id, StoredRecord& forgotten) const {
    Change change{.expected = {{forgotten_key(id), forgotten.text}, {volume_key(id), {}}},
                  .set = {{volume_key(id), forgotten.text}},
                  .removed = {forgotten_key(id)}};
    for (const auto& name : forgotten.record.image_names()) change.take_image(id, name);
    return apply(id, change);
}

}  // namespace understudy::rbd
