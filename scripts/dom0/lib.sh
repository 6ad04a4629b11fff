# SPDX-License-Identifier: MIT
#
# What the scripts of the control domain's image share: reading the kernel's command line, starting
# our daemons, waiting, reporting. Lines that begin with "PV:" are read by tests/boot and by
# `make run BATCH=1`; the last of a run is "PV: verdict PASS" or "PV: verdict FAIL".
# No wait here is a measurement: a limit is only there so that a broken thing ends.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root

BRIDGE=pvbr0
BRIDGE_ADDRESS=10.77.0.1
LOGS=/var/log/paravane
LIMIT=300

# option NAME: value of pv.NAME= on the kernel's command line.
option()
{
    tr ' ' '\n' </proc/cmdline | sed -n "s/^pv\.$1=//p" | tail -n 1
}

# Failures are counted in a file, for rc's count for the verdict too.
complain()
{
    echo "PV: FAIL $*"
    echo "$*" >>/tmp/failures
}

# plan N: how many cases the script has; a verdict over fewer is no PASS.
plan()
{
    echo "$1" >/tmp/plan
}

# check NAME COMMAND...: one case of a test, with the seconds it took. The last line of the
# command's output explains a failure.
check()
{
    name=$1
    shift
    echo "$name" >>/tmp/cases
    since=$(seconds_up)
    if "$@" >/tmp/check.out 2>&1; then
        echo "PV: ok $name ($(($(seconds_up) - since)) s)"
    else
        complain "$name: $(tail -n 1 /tmp/check.out)"
        return 1
    fi
}

verdict()
{
    if [ ! -s /tmp/plan ] || [ "$(cat /tmp/plan)" != "$(wc -l </tmp/cases)" ]; then
        complain "plan: $(cat /tmp/plan) cases, but ran $(wc -l </tmp/cases)"
    fi
    if [ -s /tmp/failures ]; then
        echo "PV: verdict FAIL ($(wc -l </tmp/failures))"
    else
        echo "PV: verdict PASS"
    fi
}

seconds_up()
{
    cut -d. -f1 /proc/uptime
}

# wait_for COMMAND...: until it succeeds, LIMIT seconds at most, asking every PAUSE microseconds.
wait_for()
{
    wait_until=$(($(seconds_up) + LIMIT))
    until "$@" >/dev/null 2>&1; do
        if [ "$(seconds_up)" -ge "$wait_until" ]; then
            echo "gave up after $LIMIT s: $*"
            return 1
        fi
        usleep ${PAUSE:-200000}
    done
}

is_control_domain()
{
    grep -q control_d /proc/xen/capabilities 2>/dev/null
}

start_store()
{
    [ -x /usr/sbin/xenstored ] || return 1
    xenstored -d || return 1
    xenstore-write /local/domain/0/domid 0 /local/domain/0/name Domain-0
}

start_console_daemon()
{
    [ -x /usr/sbin/vane-consoled ] || return 1
    vane-consoled
}

make_bridge()
{
    brctl addbr $BRIDGE && ip addr add $BRIDGE_ADDRESS/24 dev $BRIDGE && ip link set $BRIDGE up
}

# make_disk PATH: a fresh copy of the example's root disk.
make_disk()
{
    gunzip -c /var/lib/paravane/first.img.gz >"$1"
}

exists()
{
    vane info "$1" >/dev/null 2>&1
}

# gone NAME: vane says that there is no such domain, which is more than failing to find out.
gone()
{
    vane info "$1" >/dev/null 2>&1
    [ $? = 3 ]
}

# log NAME: a guest's console log so far. says NAME TEXT: whether a line of it begins like that.
log()
{
    cat "$LOGS/$1.log"
}

says()
{
    tr -d '\r' <"$LOGS/$1.log" | grep -q "^$2"
}

# said NAME N TEXT: whether N lines or more begin like that.
said()
{
    [ "$(tr -d '\r' <"$LOGS/$1.log" | grep -c "^$3")" -ge "$2" ]
}

# says_or_gone NAME TEXT: to wait for a guest without waiting for a dead one.
says_or_gone()
{
    says "$1" "$2" || gone "$1"
}

# guest_ready NAME: until it has reported from its userland.
guest_ready()
{
    wait_for says_or_gone "$1" "GUEST READY"
    says "$1" "GUEST READY" || {
        echo "$1 did not get to its userland; last: $(log "$1" | tail -n 1)"
        return 1
    }
}

disk_good()
{
    says "$1" "GUEST DISK OK"
}

# transfer give|take ADDRESS PORT [HEADING]: 64 MiB over TCP, against the checksum that was computed
# when the image was built.
transfer()
{
    result=/tmp/transfer.$2.$3
    rm -f "$result"
    RESULT=$result HEADING=$4 nc "$2" "$3" -e "/usr/lib/paravane/$1"
    got=$(cat "$result")
    [ "$got" = "$(cat /etc/paravane/stream.md5)" ] || {
        echo "checksum of what arrived is '$got'"
        return 1
    }
}

# sends ADDRESS, receives ADDRESS: to, or from, a guest.
sends()
{
    transfer give "$1" 5001
}

receives()
{
    transfer take "$1" 5002
}

reachable()
{
    ping -c 1 -W 2 "$1"
}

# running_guests: names of all domains but our own, one a line.
running_guests()
{
    pidof xenstored >/dev/null || return
    for id in $(xenstore-list /local/domain 2>/dev/null); do
        if [ "$id" != 0 ]; then
            xenstore-read "/local/domain/$id/name"
        fi
    done
}

shut_down()
{
    vane shutdown "$1" && wait_for gone "$1"
}
