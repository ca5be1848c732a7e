#include "storage/rbd/frozen_image.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

// One snapshot of one image (or its head), as the objects that RADOS keeps. history() lists an
// object's versions, allocated() says which parts of an object take room, candidates() asks
// librbd's fast-diff which objects differ at all, if has_fast_diff() found every map in between to
// be valid. open_parent() opens what shows where this one has no object. Only reads; nothing is
// kept. Thread-safe.

namespace understudy::rbd {
namespace {

using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

// The ranges that are in both. Each is ascending and without overlaps.
Ranges intersection(const Ranges& a, const Ranges& b) {
    Ranges both;
    for (auto left = a.begin(), right = b.begin(); left != a.end() && right != b.end();) {
        const auto begin = std::max(left->first, right->first);
        const auto left_end = left->first + left->second;
        const auto right_end = right->first + right->second;
        if (begin < std::min(left_end, right_end))
            both.emplace_back(begin, std::min(left_end, right_end) - begin);
        left_end < right_end ? ++left : ++right;
    }
    return both;
}

bool is_fast_diff_valid(librbd::Image& image) {
    std::uint64_t flags = 0;
    return image.get_flags(&flags) >= 0 &&
           (flags & (RBD_FLAG_OBJECT_MAP_INVALID | RBD_FLAG_FAST_DIFF_INVALID)) == 0;
}

int collect_object(std::uint64_t offset, std::size_t length, int, void* into) {
    if (length > 0)
        static_cast<std::vector<std::pair<std::uint64_t, std::uint64_t>>*>(into)->emplace_back(
            offset, length);
    return 0;
}

}  // namespace

ObjectState ObjectHistory::at(std::uint64_t snapshot) const {
    for (std::size_t i = 0; i < set.clones.size(); ++i) {
        const auto& clone = set.clones[i];
        const bool shown = clone.cloneid == librados::SNAP_HEAD
                               ? snapshot > set.seq  // nothing was written since
                               : std::ranges::find(clone.snaps, snapshot) != clone.snaps.end();
        if (shown) return {.exists = true, .version = i, .size = clone.size};
    }
    return {};
}

Ranges ObjectHistory::unchanged(std::size_t older, std::size_t newer) const {
    Ranges same = set.clones[older].overlap;
    for (auto version = older + 1; version < newer; ++version)
        same = intersection(same, set.clones[version].overlap);
    return same;
}

Error FrozenImage::error(int result, const std::string& step) const {
    return cluster_->error(result, fmt::format("{} {}", step, name_));
}

Result<std::unique_ptr<FrozenImage>> FrozenImage::open(const Images& images,
                                                       const std::string& name,
                                                       std::optional<SnapshotId> snapshot) {
    auto opened = UNDERSTUDY_VALUE(images.open_frozen(name, snapshot));
    std::unique_ptr<FrozenImage> frozen(new FrozenImage());
    frozen->open_ = opened;
    frozen->name_ = name;
    frozen->namespace_ = images.cluster().settings().rbd_namespace;
    frozen->snapshot_ = librados::SNAP_HEAD;
    if (snapshot) {
        frozen->snapshot_name_ = snapshot_name(*snapshot);
        frozen->name_ += "@" + frozen->snapshot_name_;
        const int result = opened->image.snap_get_id(frozen->snapshot_name_, &frozen->snapshot_);
        if (result < 0) return fail(images.error(result, "look at", frozen->name_));
    }
    UNDERSTUDY_TRY(frozen->look(images));
    return frozen;
}

Result<std::unique_ptr<FrozenImage>> FrozenImage::open_parent(const Images& images) const {
    if (overlap_ == 0) return nullptr;
    librbd::linked_image_spec_t parent;
    librbd::snap_spec_t snapshot;
    if (const int result = open_->image.get_parent(&parent, &snapshot); result < 0)
        return fail(error(result, "find the parent of"));
    std::unique_ptr<FrozenImage> frozen(new FrozenImage());
    frozen->open_ = std::make_shared<OpenImage>();
    frozen->open_->connection = open_->connection;
    frozen->name_ = parent.image_name + "@" + snapshot.name;
    frozen->snapshot_ = snapshot.id;
    frozen->namespace_ = parent.pool_namespace;
    librados::IoCtx io;
    int result = open_->connection->rados.ioctx_create2(parent.pool_id, io);
    if (result >= 0) {
        io.set_namespace(parent.pool_namespace);
        result = librbd::RBD().open_by_id_read_only(io, frozen->open_->image,
                                                    parent.image_id.c_str(), nullptr);
    }
    if (result >= 0) result = frozen->open_->image.snap_set_by_id(snapshot.id);
    if (result < 0) return fail(error(result, "open " + frozen->name_ + ", the parent of"));
    UNDERSTUDY_TRY(frozen->look(images));
    return frozen;
}

Result<> FrozenImage::look(const Images& images) {
    cluster_ = images.shared_cluster();
    auto& image = open_->image;
    librbd::image_info_t info;
    int result = image.stat(info, sizeof info);
    if (result >= 0) result = image.overlap(&overlap_);
    if (result >= 0) result = image.get_id(&id_);
    if (result >= 0) result = image.size(&size_);
    if (result < 0) return fail(error(result, "look at"));
    object_size_ = info.obj_size;
    prefix_ = image.get_block_name_prefix();
    auto& connection = *open_->connection;
    for (auto* io : {&histories_, &objects_}) {
        result = connection.rados.ioctx_create2(image.get_data_pool_id(), *io);
        if (result < 0) return fail(error(result, "open the data pool of"));
    }
    histories_.set_namespace(namespace_);
    objects_.set_namespace(namespace_);
    histories_.snap_set_read(librados::SNAP_DIR);
    objects_.snap_set_read(snapshot_);
    return {};
}

std::string FrozenImage::object_name(std::uint64_t object) const {
    return fmt::format("{}.{:016x}", prefix_, object);
}

Result<ObjectHistory> FrozenImage::history(std::uint64_t object) const {
    ObjectHistory found;
    const int result = histories_.list_snaps(object_name(object), &found.set);
    if (result == -ENOENT) return ObjectHistory{};
    if (result < 0) return fail(error(result, "list the versions of an object of"));
    return found;
}

Result<Ranges> FrozenImage::allocated(std::uint64_t object) const {
    std::map<std::uint64_t, std::uint64_t> extents;
    const int result = objects_.mapext(object_name(object), 0, object_size_, extents);
    if (result == -EOPNOTSUPP) return Ranges{{0, object_size_}};  // erasure coded
    if (result == -ENOENT) return Ranges{};
    if (result < 0) return fail(error(result, "list what takes room in an object of"));
    return Ranges(extents.begin(), extents.end());
}

Result<> FrozenImage::read(std::uint64_t offset, std::span<std::byte> into) const {
    librados::bufferlist buffer;
    const auto result = open_->image.read(offset, into.size(), buffer);
    if (result < 0) return fail(error(static_cast<int>(result), "read"));
    if (static_cast<std::size_t>(result) != into.size())
        return fail(ErrorKind::internal,
                    fmt::format("read {} of {} bytes of {}", result, into.size(), name_));
    buffer.begin().copy(static_cast<unsigned>(into.size()), reinterpret_cast<char*>(into.data()));
    return {};
}

// What changed in between is in the maps of all snapshots from the older one to this one, so each
// of them must be valid.
Result<bool> FrozenImage::has_fast_diff(const FrozenImage* older) const {
    const auto since = older ? older->snapshot_ : snapshot_;
    auto& image = open_->image;
    std::uint64_t features = 0;
    if (const int result = image.features(&features); result < 0)
        return fail(error(result, "look at"));
    if ((features & RBD_FEATURE_FAST_DIFF) == 0) return false;
    std::vector<librbd::snap_info_t> snapshots;
    if (const int result = image.snap_list(snapshots); result < 0)
        return fail(error(result, "list the snapshots of"));
    // A second handle, because the first one must stay at its snapshot.
    librbd::Image other;
    librados::IoCtx io = open_->connection->io;
    int result = librbd::RBD().open_by_id_read_only(io, other, id_.c_str(), nullptr);
    if (result < 0) return fail(error(result, "open once more:"));
    for (const auto& at : snapshots) {
        if (at.id < since || at.id > snapshot_) continue;
        result = other.snap_set_by_id(at.id);
        if (result < 0) return fail(error(result, "look at the snapshots before"));
        if (!is_fast_diff_valid(other)) return false;
    }
    return snapshot_ != librados::SNAP_HEAD || is_fast_diff_valid(image);
}

Result<std::vector<std::uint64_t>> FrozenImage::candidates(const FrozenImage* older,
                                                           std::uint64_t first,
                                                           std::uint64_t last) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> found;
    const auto begin = first * object_size_;
    const auto end = std::min(size_, last * object_size_);
    const int result =
        open_->image.diff_iterate2(older ? older->snapshot_name_.c_str() : nullptr, begin,
                                   end - begin, false, true, collect_object, &found);
    if (result < 0) return fail(error(result, "list the changes of"));
    std::vector<std::uint64_t> objects;
    for (const auto& [offset, length] : found)
        for (auto object = offset / object_size_; object * object_size_ < offset + length; ++object)
            if (objects.empty() || objects.back() < object) objects.push_back(object);
    return objects;
}

}  // namespace understudy::rbd
