//! What this build is, for `server/version.cc`.

use std::ffi::{CString, c_char};
use std::sync::LazyLock;

/// The crate's version, the one that SHOW PLUGINS has room for: major and minor number.
const NUMBER: u32 =
    number(env!("CARGO_PKG_VERSION_MAJOR")) << 8 | number(env!("CARGO_PKG_VERSION_MINOR"));

const fn number(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(number) if number < 256 => number,
        _ => panic!("SHOW PLUGINS has one byte for each part of a version"),
    }
}

static FORMATS: LazyLock<CString> = LazyLock::new(|| {
    CString::new(smartengine_ffi::format_versions()).expect("names of formats have no zero byte")
});

#[unsafe(no_mangle)]
pub extern "C" fn smartengine_version_number() -> u32 {
    NUMBER
}

/// The version with all its parts, `0.1.0`. Ends with a zero byte, and stays.
#[unsafe(no_mangle)]
pub extern "C" fn smartengine_version_name() -> *const c_char {
    const NAME: &std::ffi::CStr = match std::ffi::CStr::from_bytes_with_nul(
        concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes(),
    ) {
        Ok(name) => name,
        Err(_) => panic!("a version has no zero byte"),
    };
    NAME.as_ptr()
}

/// The versions of the engine's formats as text. Ends with a zero byte, and stays.
#[unsafe(no_mangle)]
pub extern "C" fn smartengine_formats() -> *const c_char {
    FORMATS.as_ptr()
}
