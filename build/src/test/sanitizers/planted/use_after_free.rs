//! A fault that a checker of memory has to see: a value is read after it was freed. `unsafe` is here to plant it.

fn main() {
    let value = Box::new(7);
    let freed: *const u64 = &raw const *value;
    drop(value);
    // SAFETY: it is not safe, which is what this program is for.
    println!("{}", unsafe { std::ptr::read_volatile(freed) });
}
