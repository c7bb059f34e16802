//! Generates the C++ side of the bridge; its header directory reaches `mysql-plugin` through the `links` key.

fn main() {
    cxx_build::bridge("src/bridge.rs")
        .std("c++17")
        .compile("smartengine_bridge");
    println!("cargo:rerun-if-changed=src/bridge.rs");
}
