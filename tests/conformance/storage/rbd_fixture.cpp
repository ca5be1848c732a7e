#include "rbd_fixture.hpp"

#include "storage/rbd/record_store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

namespace understudy::conformance {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kSettleLimit{60};

int check(int result, const std::string& what) {
    if (result < 0) throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(-result)));
    return result;
}

std::string fresh_name() {
    return "t" + VolumeId::random().text().substr(0, 13);
}

class NoProgress : public librbd::ProgressContext {
public:
    int update_progress(std::uint64_t, std::uint64_t) override { return 0; }
};

}  // namespace

RbdFixture::RbdFixture(rbd::RbdSettings settings, std::optional<ByteSize> capacity)
    : settings_(std::move(settings)), capacity_(capacity) {
    const char* conf = std::getenv("UNDERSTUDY_TEST_CEPH");
    if (!conf)
        throw std::runtime_error(
            "UNDERSTUDY_TEST_CEPH names no ceph.conf; run this by ctest, or "
            "start a Ceph with tests/conformance/storage/ceph-fixture.sh");
    settings_.ceph_conf = conf;
    check(rados_.init2("client.admin", "ceph", 0), "start librados");
    check(rados_.conf_read_file(conf), conf);
    for (const auto& [option, value] : {std::pair("admin_socket", ""),
                                        {"librados_thread_count", "1"},  // as the driver
                                        {"rbd_cache", "false"},
                                        {"client_mount_timeout", "30"},
                                        {"rados_osd_op_timeout", "60"},
                                        {"rbd_skip_partial_discard", "false"}})
        check(rados_.conf_set(option, value), option);
    check(rados_.connect(), "connect");
    if (capacity_) {
        settings_.pool = fresh_name();
        settings_.data_pool.clear();
        ask(json{{"prefix", "osd pool create"}, {"pool", settings_.pool}, {"pg_num", 1}}.dump());
        check(rados_.ioctx_create(settings_.pool.c_str(), io_), settings_.pool);
        check(librbd::RBD().pool_init(io_, false), "rbd pool init");
        io_.set_pool_full_try();  // to look into a full one
        ask(json{{"prefix", "osd pool set-quota"},
                 {"pool", settings_.pool},
                 {"field", "max_bytes"},
                 {"val", fmt::format("{}", capacity_->count())}}
                .dump());
    } else {
        settings_.pool = "vms";
        settings_.rbd_namespace = fresh_name();
        check(rados_.ioctx_create("vms", io_), "vms");
        check(librbd::RBD().namespace_create(io_, settings_.rbd_namespace.c_str()), "namespace");
        io_.set_namespace(settings_.rbd_namespace);
    }
}

RbdFixture::~RbdFixture() {
    pool_.reset();
    try {
        if (capacity_) {
            ask(json{{"prefix", "osd pool delete"},
                     {"pool", settings_.pool},
                     {"pool2", settings_.pool},
                     {"yes_i_really_really_mean_it", true}}
                    .dump());
        } else {
            remove_images();
            io_.remove(rbd::kRecordsObject);
            io_.set_namespace("");
            librbd::RBD().namespace_remove(io_, settings_.rbd_namespace.c_str());
        }
    } catch (const std::exception& problem) {
        ADD_FAILURE() << "cleaning up: " << problem.what();
    }
    io_.close();
    rados_.shutdown();
}

// Clones go before what they are clones of, in as many rounds as that takes.
void RbdFixture::remove_images() {
    for (int round = 0; round < 16 && !images().empty(); ++round)
        for (const auto& name : images()) {
            {
                const auto image = open(name);
                std::vector<librbd::snap_info_t> snapshots;
                check(image->snap_list(snapshots), "list snapshots");
                for (const auto& snapshot : snapshots) image->snap_remove(snapshot.name.c_str());
            }
            librbd::RBD().remove(io_, name.c_str());
        }
    if (!images().empty()) throw std::runtime_error("images are left");
}

std::string RbdFixture::ask(const std::string& json_command) {
    librados::bufferlist none;
    librados::bufferlist answer;
    std::string status;
    const int result = rados_.mon_command(json_command, none, &answer, &status);
    check(result, json_command + " (" + status + ")");
    return answer.to_str();
}

ports::StoragePool& RbdFixture::pool() {
    if (!pool_) pool_ = must(rbd::open_rbd_pool("images", settings_));
    return *pool_;
}

void RbdFixture::crash() {
    close_pool();
}

ports::DiskSource RbdFixture::source(const std::string& image) const {
    const auto space = settings_.rbd_namespace.empty() ? "" : settings_.rbd_namespace + "/";
    return {.type = "network", .format = "raw", .location = settings_.pool + "/" + space + image};
}

std::string RbdFixture::image_of(const ports::DiskSource& disk) const {
    return disk.location.substr(source("").location.size());
}

std::unique_ptr<librbd::Image> RbdFixture::open(const std::string& image) {
    auto opened = std::make_unique<librbd::Image>();
    check(librbd::RBD().open(io_, *opened, image.c_str()), image);
    return opened;
}

std::vector<std::string> RbdFixture::images() {
    std::vector<librbd::image_spec_t> found;
    check(librbd::RBD().list2(io_, &found), "list images");
    std::vector<std::string> names;
    for (const auto& image : found) names.push_back(image.name);
    return names;
}

ports::DiskSource RbdFixture::make_disk(const std::string& name, ByteSize size) {
    std::uint64_t features = 0;
    check(librbd::RBD().features_from_string(settings_.features, &features), "features");
    librbd::ImageOptions options;
    options.set(RBD_IMAGE_OPTION_FEATURES, features);
    options.set(RBD_IMAGE_OPTION_FORMAT, std::uint64_t{2});
    options.set(RBD_IMAGE_OPTION_ORDER,
                static_cast<std::uint64_t>(std::countr_zero(settings_.object_size.count())));
    if (!settings_.data_pool.empty()) options.set(RBD_IMAGE_OPTION_DATA_POOL, settings_.data_pool);
    check(librbd::RBD().create4(io_, name.c_str(), size.count(), options), name);
    return source(name);
}

void RbdFixture::guest(const ports::DiskSource& disk, const std::vector<GuestOp>& ops) {
    const auto image = open(image_of(disk));
    for (const auto& op : ops) {
        const auto at = op.offset.count();
        const auto length = op.length.count();
        if (op.kind == GuestOp::Kind::write) {
            librados::bufferlist content;
            content.append(std::string(length, static_cast<char>(op.pattern)));
            check(static_cast<int>(image->write(at, length, content)), "write");
        } else if (op.kind == GuestOp::Kind::zero) {
            check(static_cast<int>(image->write_zeroes(at, length, 0, 0)), "write zeroes");
        } else {
            check(image->discard(at, length), "discard");
        }
    }
    check(image->flush(), "flush");
}

void RbdFixture::resize(const ports::DiskSource& disk, ByteSize size) {
    NoProgress progress;
    check(open(image_of(disk))->resize2(size.count(), true, progress), "resize");
}

Bytes RbdFixture::read_disk(const ports::DiskSource& disk) {
    const auto image = open(image_of(disk));
    std::uint64_t size = 0;
    check(image->size(&size), "size");
    librados::bufferlist content;
    check(static_cast<int>(image->read(0, size, content)), "read");
    Bytes bytes(content.length());
    content.begin().copy(content.length(), reinterpret_cast<char*>(bytes.data()));
    return bytes;
}

void RbdFixture::merge_live(const ports::LiveMerge&, const ports::DiskSource&) {
    throw std::runtime_error("the rbd driver merges nothing");
}

std::optional<std::string> RbdFixture::value(const std::string& key) {
    std::map<std::string, librados::bufferlist> values;
    const int result = io_.omap_get_vals_by_keys(rbd::kRecordsObject, {key}, &values);
    if (result == -ENOENT || values.empty()) return std::nullopt;
    check(result, "read the records");
    return values.begin()->second.to_str();
}

// Also those that rbd keeps in its trash for a clone.
std::vector<std::string> RbdFixture::snapshots_of(const std::string& name) {
    const auto image = open(name);
    std::vector<librbd::snap_info_t> snapshots;
    check(image->snap_list(snapshots), "list snapshots");
    std::vector<std::string> names;
    for (const auto& snapshot : snapshots) {
        librbd::snap_namespace_type_t type = RBD_SNAP_NAMESPACE_TYPE_USER;
        check(image->snap_get_namespace_type(snapshot.id, &type), "look at a snapshot");
        auto shown = snapshot.name;
        if (type == RBD_SNAP_NAMESPACE_TYPE_TRASH)
            check(image->snap_get_trash_namespace(snapshot.id, &shown), "look at a snapshot");
        if (shown.starts_with("understudy-")) names.push_back(name + "@" + shown);
    }
    return names;
}

// What stands in no record counts for every volume: it would be a leftover.
std::vector<std::string> RbdFixture::traces(const VolumeId& volume) {
    std::vector<std::string> names;
    for (const auto& image : images()) {
        const auto owner = value("image/" + image);
        if (owner && *owner != volume.text()) continue;
        if (image.starts_with("understudy.")) names.push_back(image);
        for (auto& snapshot : snapshots_of(image)) names.push_back(std::move(snapshot));
    }
    if (const auto text = value("volume/" + volume.text())) {
        names.emplace_back("record");
        const auto record = json::parse(*text);
        for (const auto& image : record.at("images"))
            if (image.at("role") == "incoming") names.emplace_back("incoming");
    }
    std::ranges::sort(names);
    return names;
}

// Ceph notices a quota some seconds late, both ways.
void RbdFixture::settle() {
    if (!capacity_) return;
    std::uint64_t used = 0;
    librados::IoCtx all;
    all.dup(io_);
    for (auto object = all.nobjects_begin(); object != all.nobjects_end(); ++object) {
        std::uint64_t size = 0;
        all.stat(object->get_oid(), &size, nullptr);
        used += size;
    }
    const bool full = used >= capacity_->count();
    librados::IoCtx probing;
    probing.dup(io_);
    probing.set_pool_full_try();
    const auto until = std::chrono::steady_clock::now() + kSettleLimit;
    for (;;) {
        librados::bufferlist content;
        content.append(std::string(4096, 'x'));
        const int result = probing.write_full("probe", content);
        if (result >= 0) check(probing.remove("probe"), "remove the probe");
        if (result < 0 && result != -EDQUOT) check(result, "write the probe");
        if ((result == -EDQUOT) == full) return;
        if (std::chrono::steady_clock::now() > until)
            throw std::runtime_error("Ceph does not notice the quota");
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
}

}  // namespace understudy::conformance
