//! A fault that a checker of threads has to see: two write to one place, and nothing puts them in order. `unsafe` is here to plant it.

static mut PLACE: u64 = 0;

fn main() {
    std::thread::scope(|scope| {
        for number in 1..3 {
            scope.spawn(move || {
                let place = &raw mut PLACE;
                // SAFETY: it is not safe, which is what this program is for.
                unsafe { std::ptr::write_volatile(place, number) };
            });
        }
    });
}
