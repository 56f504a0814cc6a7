//! Each property must be able to fail: a hand-made sequence that violates it, and one that does not.

mod attempts;
mod customers;
mod fairness;
mod leading;
mod rig;

use super::Properties;

#[test]
fn every_property_of_the_design_is_watched() {
    for number in 1..=23 {
        let name = format!("P{number}");
        assert!(Properties::NAMES.contains(&name.as_str()), "{name}");
    }
}
