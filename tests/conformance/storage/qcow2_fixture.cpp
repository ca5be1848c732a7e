#include "qcow2_fixture.hpp"

#include "storage/qcow2/image/layer_chain.hpp"
#include "storage/qcow2/pool.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace understudy::conformance {
namespace {

std::string read_whole(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

}  // namespace

std::string run_program(std::vector<std::string> arguments) {
    char output[] = "/tmp/us-conformance-out-XXXXXX";
    ::close(::mkstemp(output));
    const std::string out = output;
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_t child = -1;
    const int error = ::posix_spawnp(&child, argv[0], &files, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    int status = 0;
    if (error == 0)
        while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    auto text = read_whole(out);
    ::unlink(out.c_str());
    if (error != 0) throw std::runtime_error(arguments[0] + ": " + std::strerror(error));
    if (status != 0) throw std::runtime_error(fmt::format("{}: {}", arguments[0], text));
    return text;
}

Qcow2Fixture::Qcow2Fixture(std::string format, std::optional<ByteSize> capacity)
    : format_(std::move(format)) {
    // In RAM where that is possible: the suite waits for little else than fsync.
    const bool has_shm = ::access("/dev/shm", W_OK) == 0;
    root_ = std::string(has_shm ? "/dev/shm" : "/tmp") + "/us-conformance-XXXXXX";
    if (!::mkdtemp(root_.data())) throw std::runtime_error("mkdtemp failed");
    if (!capacity) return;
    const auto options = fmt::format("size={}", capacity->count());
    if (::mount("none", root_.c_str(), "tmpfs", 0, options.c_str()) != 0)
        throw std::runtime_error(fmt::format("mount a tmpfs: {}", std::strerror(errno)));
    mounted_ = true;
}

Qcow2Fixture::~Qcow2Fixture() {
    pool_.reset();
    if (mounted_) ::umount2(root_.c_str(), MNT_DETACH);
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
    if (!remembered_.empty()) std::filesystem::remove_all(remembered_, ignored);
}

ports::StoragePool& Qcow2Fixture::pool() {
    if (!pool_)
        pool_ = must(qcow2::open_qcow2_pool("disks", pool_directory(), {.full_format = format_}));
    return *pool_;
}

void Qcow2Fixture::crash() {
    close_pool();
}

ports::DiskSource Qcow2Fixture::make_disk(const std::string& name, ByteSize size) {
    const auto file = path(name);
    const auto bytes = fmt::format("{}", size.count());
    if (format_ == "raw")  // qemu-img would allocate its first block
        run_program({"truncate", "-s", bytes, "--", file});
    else
        run_program({"qemu-img", "create", "-q", "-f", format_, file, bytes});
    return {.type = "file", .format = format_, .location = file};
}

void Qcow2Fixture::guest(const ports::DiskSource& disk, const std::vector<GuestOp>& ops) {
    std::vector<std::string> arguments{"qemu-io", "-f", disk.format, "-d", "unmap"};
    for (const auto& op : ops) {
        const auto range = fmt::format("{} {}", op.offset.count(), op.length.count());
        arguments.push_back("-c");
        if (op.kind == GuestOp::Kind::write)
            arguments.push_back(fmt::format("write -q -P {} {}", op.pattern, range));
        else if (op.kind == GuestOp::Kind::zero)
            arguments.push_back(fmt::format("write -q -z {}", range));
        else
            arguments.push_back(fmt::format("discard -q {}", range));
    }
    arguments.push_back(disk.location);
    run_program(std::move(arguments));
}

void Qcow2Fixture::resize(const ports::DiskSource& disk, ByteSize size) {
    run_program({"qemu-img", "resize", "-q", "-f", disk.format, disk.location,
                 fmt::format("{}", size.count())});
}

Bytes Qcow2Fixture::read_disk(const ports::DiskSource& disk) {
    char copy[] = "/tmp/us-conformance-copy-XXXXXX";
    ::close(::mkstemp(copy));
    run_program({"qemu-img", "convert", "-q", "-f", disk.format, "-O", "raw", disk.location, copy});
    const auto text = read_whole(copy);
    ::unlink(copy);
    Bytes bytes(text.size());
    std::memcpy(bytes.data(), text.data(), text.size());
    return bytes;
}

// As block-commit does it: the content, then the backing file of the layer above in head's chain.
void Qcow2Fixture::merge_live(const ports::LiveMerge& merge, const ports::DiskSource& head) {
    const auto chain = must(qcow2::LayerChain::open(head.location, head.format));
    std::size_t top = 0;
    while (top < chain->depth() && chain->path_of(top) != merge.top) ++top;
    if (top == chain->depth()) return;  // it took place before
    run_program({"qemu-img", "commit", "-q", "-d", "-f", chain->info_of(top).format, "-b",
                 merge.base, merge.top});
    if (merge.top_is_head) return;
    run_program({"qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-F",
                 chain->info_of(top + 1).format, "-b", merge.base, chain->path_of(top - 1)});
}

bool Qcow2Fixture::remember() {
    close_pool();
    remembered_ = root_ + ".remembered";
    std::filesystem::remove_all(remembered_);
    run_program({"cp", "-a", "--sparse=always", "--", root_, remembered_});
    return true;
}

void Qcow2Fixture::go_back() {
    close_pool();
    for (const auto& entry : std::filesystem::directory_iterator(root_))
        std::filesystem::remove_all(entry.path());
    run_program({"cp", "-a", "--sparse=always", "--", remembered_ + "/.", root_});
}

std::vector<std::string> Qcow2Fixture::traces(const VolumeId& volume) {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator(pool_directory() + "/" + volume.text(), error))
        names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
}

}  // namespace understudy::conformance
