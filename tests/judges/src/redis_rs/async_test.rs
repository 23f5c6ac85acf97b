//! The attribute that redis-rs marks its asynchronous tests with: the original isn't published with the crate. The test runs
//! once in Tokio; one that takes a connection gets one to a server of its own, one that takes a flag runs with both values.

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// `#[async_test] async fn name(…) { … }`
#[proc_macro_attribute]
pub fn async_test(_: TokenStream, item: TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = item.into_iter().collect();
    let at = tokens.iter().position(|token| token.to_string() == "fn").expect("a function");
    let name = tokens[at + 1].to_string();
    let parameters = tokens.iter().find_map(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => Some(group.stream().to_string()),
        _ => None,
    });
    // Attributes of the original stand before `async`; they belong to the test.
    let begin = tokens[..at].iter().position(|token| token.to_string() == "async").expect("async");
    let attributes: TokenStream = tokens[..begin].iter().cloned().collect();
    let function: TokenStream = tokens[begin..].iter().cloned().collect();
    let parameters = parameters.unwrap_or_default();
    let body = if parameters.is_empty() {
        format!("{name}().await")
    } else if parameters.contains("bool") {
        format!("for flag in [false, true] {{ {name}(flag).await }}")
    } else {
        format!(
            "let context = crate::support::TestContext::new();
             {name}(context.async_connection().await.expect(\"a connection\")).await"
        )
    };
    let text = format!(
        "#[test] {attributes} fn {name}() {{
            {function}
            crate::support::block_on_all(async {{ {body} }}, crate::support::RuntimeType::Tokio)
        }}"
    );
    text.parse().expect("a function again")
}
