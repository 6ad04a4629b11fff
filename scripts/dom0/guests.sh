# SPDX-License-Identifier: MIT
#
# For test scripts: guests made up on the spot, typing into them, and what must be the same before
# a guest was created and after it has gone.

# guest_xml NAME NUMBER: /tmp/NAME.xml, a guest with address 10.77.0.NUMBER and a disk of its own.
# The variables KERNEL, MEMORY (MiB), EXTRA (kernel arguments), ON_POWEROFF, ON_REBOOT, ON_CRASH,
# VCPU and HOSTDEVS (elements), DISK and BRIDGE_NAME replace what is usual; READONLY has the disk so,
# FILTER is an element of the card.
guest_xml()
{
    cat >"/tmp/$1.xml" <<END
<domain type='xen'>
  <name>$1</name>
  <memory unit='MiB'>${MEMORY:-160}</memory>
  ${VCPU:-<vcpu>1</vcpu>}
  <os>
    <type arch='x86_64' machine='xenpv'>linux</type>
    <kernel>${KERNEL:-/boot/guest/vmlinuz}</kernel>
    <initrd>/boot/guest/initrd.gz</initrd>
    <cmdline>console=hvc0 root=/dev/xvda quiet pv.ip=10.77.0.$2 $EXTRA</cmdline>
  </os>
  <on_poweroff>${ON_POWEROFF:-destroy}</on_poweroff>
  <on_reboot>${ON_REBOOT:-restart}</on_reboot>
  <on_crash>${ON_CRASH:-destroy}</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='phy' type='raw'/>
      <source file='${DISK:-/var/lib/paravane/$1.img}'/>
      <target dev='xvda' bus='xen'/>
      ${READONLY:+<readonly/>}
    </disk>
    <interface type='bridge'>
      <mac address='00:16:3e:77:00:$(printf %02x "$2")'/>
      <source bridge='${BRIDGE_NAME:-$BRIDGE}'/>
      $FILTER
    </interface>
    $HOSTDEVS
    <console type='pty'><target type='xen' port='0'/></console>
  </devices>
</domain>
END
}

# start_guest NAME NUMBER: disk, XML, create.
start_guest()
{
    make_disk "/var/lib/paravane/$1.img"
    guest_xml "$1" "$2"
    vane create "/tmp/$1.xml"
}

# type_in NAME TEXT: a line typed at a guest's console; the last byte is what leaves it.
type_in()
{
    printf '%s\n\035' "$2" | vane console "$1" >/dev/null
}

# answers NAME TEXT LINE: typing TEXT makes the guest print a line that begins with LINE.
answers()
{
    type_in "$1" "$2" && wait_for says "$1" "$3"
}

id_of()
{
    vane list | awk -v name="$1" '$2 == name { print $1 }'
}

free_memory()
{
    vane info --json | tr ',{}' '\n\n\n' | sed -n 's/^ *"free_frames": *\([0-9]*\).*/\1/p'
}

# what_exists: everything a guest could leave behind. Frames come back some time after a domain
# has gone, so unchanged() asks until the limit.
what_exists()
{
    echo "domains: $(vane list | awk 'NR > 1' | wc -l)"
    echo "free frames: $(free_memory)"
    echo "store nodes: $(xenstore-ls -f / | wc -l)"
    echo "loops: $(losetup -a | wc -l)"
    echo "interfaces: $(ls /sys/class/net | tr '\n' ' ')"
    # A guest that has been changed while it ran has a lock beside its configuration.
    echo "watched: $(ls /run/paravane | sed -n 's/^dom\([0-9]*\)\..*/\1/p' | sort -u | wc -l)"
}

remember()
{
    what_exists >/tmp/before
    grep -q "free frames: [0-9]" /tmp/before || complain "vane info does not tell the free memory"
}

same_as_before()
{
    what_exists >/tmp/after
    cmp -s /tmp/before /tmp/after
}

unchanged()
{
    LIMIT=${1:-60}
    wait_for same_as_before
    settled=$?
    LIMIT=300
    [ "$settled" = 0 ] || {
        diff /tmp/before /tmp/after | grep '^[-+][a-zA-Z]' | tr '\n' ';'
        echo
        return 1
    }
}
