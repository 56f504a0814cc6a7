//! Compiles the package's sources with the probes in them.

fn main() {
    println!("cargo::rustc-cfg=planted");
    println!("cargo::rustc-check-cfg=cfg(feature, values(\"real\"))");
    println!("cargo::rerun-if-changed=build.rs");
}
