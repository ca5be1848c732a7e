#include "hypervisor/libvirt/definition/adapt.hpp"
#include "hypervisor/libvirt/definition/domain_xml.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

// Disks in Ceph, in a definition from elsewhere.
namespace understudy::libvirt {
namespace {

using ports::DiskSource;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kHere = "2ec115d7-3a88-4ceb-bc12-0ac909a6fd87";
constexpr const char* kThere = "6f3a0000-0000-4000-8000-000000000009";

HostFacts host() {
    HostFacts facts;
    facts.host_arch = facts.arch = "x86_64";
    facts.machines = {{"pc-q35-7.2", "pc-q35-7.2"}};
    facts.emulator = "/usr/bin/qemu-system-x86_64";
    facts.libvirt = 9'000'000;
    facts.has_secret = [](const std::string& uuid) -> Result<bool> { return uuid == kHere; };
    facts.exists = [](const std::string&) { return true; };
    return facts;
}

std::string from_there(const std::string& disk) {
    return fmt::format(
        "<domain type='qemu'><name>web1</name><uuid>6f3a0000-0000-4000-8000-000000000001</uuid>"
        "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>"
        "<emulator>/usr/bin/qemu-system-x86_64</emulator>{}</devices></domain>",
        disk);
}

std::string image_there(const std::string& more = "") {
    return fmt::format(
        "<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='rbd' "
        "name='vms/web1'><host name='there' port='1'/><config file='/there/ceph.conf'/>"
        "<auth username='there'><secret type='ceph' uuid='{}'/></auth>{}</source>"
        "<target dev='vda'/></disk>",
        kThere, more);
}

ports::Adapted adapt(const DiskSource& source, const HostFacts& facts = host(),
                     bool from_here = false) {
    ports::AdaptRequest request{
        from_there(image_there()), {{"vda", source}}, {}, false, "", {}, from_here};
    auto adapted = adapt_definition(request, facts);
    EXPECT_TRUE(adapted) << adapted.error().text();
    return adapted.value_or(ports::Adapted{});
}

DiskSource image(const std::string& user, const std::string& secret,
                 const std::string& location = "vms/web1") {
    return {"network", "raw", location, {"here:2"}, user, secret};
}

std::string issue(const ports::Adapted& adapted, const std::string& key) {
    for (const auto& found : adapted.issues)
        if (found.key == key)
            return (found.severity == model::Severity::blocks ? "blocks: " : "warns: ") +
                   found.text;
    return "none";
}

TEST(AdaptImages, image_of_the_same_name_in_another_ceph_is_reached_as_here) {
    const auto adapted = adapt(image("understudy", kHere));
    EXPECT_THAT(adapted.issues, IsEmpty());
    EXPECT_THAT(adapted.changes, Contains("disk vda: now vms/web1 (raw)"));
    auto disks = disks_in(adapted.domain_xml, adapted.domain_xml);
    ASSERT_TRUE(disks);
    EXPECT_EQ(disks->front().source.user, "understudy");
    EXPECT_EQ(disks->front().source.secret, kHere);
    EXPECT_THAT(adapted.domain_xml, Not(HasSubstr("there")));
    EXPECT_THAT(adapted.domain_xml, Not(HasSubstr(kThere)));
}

TEST(AdaptImages, secret_that_is_not_here_blocks_and_says_how_to_make_it) {
    const auto text = issue(adapt(image("understudy", kThere)), fmt::format("secret:{}", kThere));
    for (const char* word : {"blocks", "virsh secret-define", "secret-set-value", "understudy"})
        EXPECT_THAT(text, HasSubstr(word));
    auto facts = host();
    facts.has_secret = [](const std::string&) -> Result<bool> {
        return fail(ErrorKind::unsupported, "no secrets");
    };
    EXPECT_THAT(issue(adapt(image("understudy", kHere), facts), fmt::format("secret:{}", kHere)),
                HasSubstr("qemu:///system"));
    facts.has_secret = [](const std::string&) -> Result<bool> {
        return fail(ErrorKind::unavailable, "virtsecretd is gone");
    };
    EXPECT_THAT(issue(adapt(image("understudy", kHere), facts), fmt::format("secret:{}", kHere)),
                HasSubstr("virtsecretd is gone"));
}

TEST(AdaptImages, pool_with_a_user_but_no_secret_blocks) {
    EXPECT_THAT(issue(adapt(image("understudy", "")), "ceph-secret:understudy"),
                HasSubstr("understudyd.toml"));
    EXPECT_THAT(adapt(image("", "")).issues, IsEmpty()) << "a Ceph without authentication";
}

TEST(AdaptImages, namespace_needs_a_libvirt_that_knows_them) {
    const auto source = image("", "", "vms/tenant/web1");
    EXPECT_THAT(issue(adapt(source), "rbd-namespace:vda"), HasSubstr("blocks"));
    auto facts = host();
    facts.libvirt = 11'006'000;
    EXPECT_THAT(adapt(source, facts).issues, IsEmpty());
}

TEST(AdaptImages, qemu_without_its_rbd_driver_blocks) {
    auto facts = host();
    facts.rbd = false;
    EXPECT_THAT(issue(adapt(image("", ""), facts), "qemu-rbd"), HasSubstr("qemu-block-extra"));
    EXPECT_EQ(issue(adapt({"file", "qcow2", "/p/a"}, facts), "qemu-rbd"), "none");
}

TEST(AdaptImages, rollback_in_place_leaves_how_the_image_is_reached_to_the_operator) {
    const auto adapted = adapt(image("understudy", kHere), host(), true);
    EXPECT_THAT(adapted.domain_xml, HasSubstr("/there/ceph.conf"));
    EXPECT_THAT(adapted.domain_xml, HasSubstr(kThere));
    EXPECT_THAT(adapted.issues, IsEmpty());
}

}  // namespace
}  // namespace understudy::libvirt
