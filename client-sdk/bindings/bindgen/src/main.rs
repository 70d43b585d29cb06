//! Makes the Kotlin, Swift and Python of the bindings out of the built library.

fn main() {
    uniffi::uniffi_bindgen_main();
}
