//! When flush points move by themselves, and what writes wait for.

use super::{MIB, Machine, name};
use crate::volume::backing::memory::{Fault, MemoryObjects};
use crate::volume::store::flush::Policy;
use crate::volume::store::map::BLOCK;

/// Object storage refuses everything for a minute, and the write-behind looks ten times a second.
#[test]
fn a_flush_that_fails_is_tried_again_after_1_2_4_8_16_and_30_s_and_by_hand_at_once() {
    let objects = MemoryObjects::default();
    let machine = Machine::new(&objects, 1);
    let handle = machine.create("db", MIB);
    machine.host.flush_point(&name("db"), 0).unwrap();
    machine.host.write(&handle, 0, &[1; BLOCK], false).unwrap();
    let mut tries = Vec::new();
    for now_ms in (10_000..80_000).step_by(100) {
        objects.break_next("packs/", Fault::Refuse);
        if !machine
            .host
            .tick(Policy::PLATFORM, now_ms)
            .failed
            .is_empty()
        {
            tries.push(now_ms);
        }
        objects.mend();
    }
    // Each wait begins when somebody looks after the failure.
    let expected = [15_000, 16_100, 18_200, 22_300, 30_400, 46_500, 76_600];
    assert_eq!(tries, expected);

    machine.host.flush_point(&name("db"), 80_000).unwrap();
    machine.host.write(&handle, 0, &[2; BLOCK], false).unwrap();
    let flushed = |now_ms| machine.host.tick(Policy::PLATFORM, now_ms).flushed;
    assert!(flushed(80_100).is_empty());
    assert_eq!(flushed(85_100), [name("db")], "the trouble has ended");
}
