//! Generates both sides of the bridge from `src/bridge.rs`.
//!
//! That of C++ is cxx's work; its header directory reaches `mysql-plugin` through the `links` key.
//!
//! On Rust's side each declared function gets an entry of its name, which is what C++ calls: it takes what the handles among the arguments hold,
//! and runs the function's body inside the panic guard (`src/guard.rs`). The declaration is all that it takes, so no entry can be without its guard.
//! `unsafe` is generated for what is declared so. For the tests there are the lists `ENTRIES` and `HANDLES` of what is declared.

use std::path::PathBuf;
use std::{env, fs};

use quote::quote;
use syn::{
    FnArg, ForeignItem, GenericArgument, Ident, Item, PathArguments, Safety, Signature, Type,
};

const BRIDGE: &str = "src/bridge.rs";

fn main() {
    println!("cargo:rerun-if-changed={BRIDGE}");
    println!("cargo:rerun-if-changed=build.rs");
    cxx_build::bridge(BRIDGE)
        .std("c++17")
        .compile("smartengine_bridge");
    let source = fs::read_to_string(BRIDGE).expect("the bridge can be read");
    let bridge = syn::parse_file(&source).expect("the bridge is Rust");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("entries.rs"), entries(&bridge)).expect("OUT_DIR can be written to");
}

fn entries(bridge: &syn::File) -> String {
    let (mut functions, mut handles) = (Vec::new(), Vec::new());
    for item in declared(bridge) {
        match item {
            ForeignItem::Fn(function) => functions.push(&function.sig),
            ForeignItem::Type(handle) => handles.push(handle.ident.clone()),
            _ => panic!("{BRIDGE} declares functions and handles only"),
        }
    }
    let function_names = functions.iter().map(|function| function.ident.to_string());
    let handle_names = handles.iter().map(Ident::to_string);
    let mut text = quote! {
        #[cfg(test)]
        pub const ENTRIES: &[&str] = &[#(#function_names),*];
        #[cfg(test)]
        pub const HANDLES: &[&str] = &[#(#handle_names),*];
        #(const _: fn(&#handles) = guard::is_handle;)*
    }
    .to_string();
    for function in functions {
        text.push('\n');
        text.push_str(&entry(function, &handles));
    }
    text
}

/// What stands in the bridge's `extern "Rust"` blocks.
fn declared(bridge: &syn::File) -> impl Iterator<Item = &ForeignItem> {
    let modules = bridge.items.iter().filter_map(|item| match item {
        Item::Mod(module) => module.content.as_ref(),
        _ => None,
    });
    modules
        .flat_map(|(_, items)| items)
        .filter_map(|item| match item {
            Item::ForeignMod(block) => Some(&block.items),
            _ => None,
        })
        .flatten()
}

fn entry(function: &Signature, handles: &[Ident]) -> String {
    let Signature {
        safety,
        ident: name,
        inputs,
        output,
        ..
    } = function;
    let point = format!("ffi.{name}");
    let arguments = inputs.iter().map(|input| {
        let FnArg::Typed(input) = input else {
            panic!("{name} is a method: the bridge has functions only");
        };
        let argument = &input.pat;
        match &*input.ty {
            Type::Reference(to) if is_handle(&to.elem, handles) => match to.mutability {
                Some(_) => quote!(#argument.get_mut()?),
                None => quote!(#argument.get()?),
            },
            owned if boxed(owned).is_some_and(|held| is_handle(held, handles)) => {
                quote!(#argument.take()?)
            }
            _ => quote!(#argument),
        }
    });
    let mut call = quote!(bodies::#name(#(#arguments),*));
    if matches!(safety, Safety::Unsafe(_)) {
        // SAFETY: the entry is as unsafe as what it calls, and its caller is told the same.
        call = quote!(unsafe { #call });
    }
    quote! {
        pub #safety fn #name(#inputs) #output {
            guard::enter(#point, move || #call.into_answer())
        }
    }
    .to_string()
}

fn is_handle(of: &Type, handles: &[Ident]) -> bool {
    matches!(of, Type::Path(path) if handles.iter().any(|handle| path.path.is_ident(handle)))
}

/// What a `Box` is of.
fn boxed(of: &Type) -> Option<&Type> {
    let Type::Path(path) = of else { return None };
    let last = path.path.segments.last()?;
    match &last.arguments {
        PathArguments::AngleBracketed(of) if last.ident == "Box" => match of.args.first()? {
            GenericArgument::Type(held) => Some(held),
            _ => None,
        },
        _ => None,
    }
}
