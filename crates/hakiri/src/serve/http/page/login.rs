//! The form that lets a browser in.

use maud::{Markup, html};

use super::{Frame, frame};

/// The form, with what was wrong.
pub fn render(wrong: Option<&str>) -> Markup {
    let body = html! {
        p.lead { "This server asks for the token that it was started with." }
        form.login.card method="post" action="/login" {
            @if let Some(wrong) = wrong { p.wrong role="alert" { (wrong) } }
            label for="token" { "Token" }
            input #token type="password" name="token" autocomplete="current-password" required autofocus;
            button type="submit" { "Sign in" }
        }
    };
    let title = "Sign in";
    frame(&Frame { title, beside: html! {}, crumbs: vec![(title, None)], status: None, refresh: None }, &body)
}
