//! A secret is asked for as often as it makes sense, and nothing of it shows in what is said.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use hakiri_aws::secrets::Stored;
use hakiri_core::codes::Code;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-AbCdEf";

/// Gives one answer after the other (none: it hangs up), and keeps what was asked.
async fn double(answers: &[Option<(u16, &str)>]) -> (Stored, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut answers: VecDeque<_> = answers.iter().map(|a| a.map(|(status, body)| (status, body.to_owned()))).collect();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            while !request.ends_with(b"}") {
                let n = stream.read(&mut buffer).await.unwrap();
                assert!(n > 0);
                request.extend_from_slice(&buffer[..n]);
            }
            kept.lock().unwrap().push(String::from_utf8(request).unwrap());
            let Some((status, body)) = answers.pop_front().unwrap() else { continue };
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let variable = move |name: &str| {
        let value = match name {
            "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY" => "sekrit-0123456789",
            "AWS_ENDPOINT_URL" => "http://127.0.0.1:1",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER" => &url,
            _ => return None,
        };
        Some(value.to_owned())
    };
    (Stored::new(ARN, &variable).unwrap(), seen)
}

const GOOD: Option<(u16, &str)> = Some((200, r#"{"ARN":"x","SecretString":"sekrit value"}"#));

#[tokio::test]
async fn what_may_pass_is_asked_for_again() {
    let throttled = Some((400, r#"{"__type":"ThrottlingException"}"#));
    for answers in [&[GOOD][..], &[None, GOOD], &[Some((503, "")), throttled, GOOD]] {
        let (stored, seen) = double(answers).await;
        assert_eq!(stored.read().await.unwrap().expose(), "sekrit value");
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), answers.len());
        let first = seen[0].to_ascii_lowercase();
        assert!(first.contains("x-amz-target: secretsmanager.getsecretvalue"), "{first}");
        assert!(first.contains("/eu-west-1/secretsmanager/aws4_request"), "{first}");
        assert!(first.contains("content-type: application/x-amz-json-1.1"), "{first}");
        assert!(seen[0].ends_with(&format!(r#"{{"SecretId":"{ARN}"}}"#)) && !first.contains("sekrit"), "{first}");
    }
}

#[tokio::test]
async fn what_will_not_pass_is_an_error_that_shows_nothing() {
    for (answers, code) in [
        (vec![None, None, None], Code::SecretsUnavailable),
        (vec![Some((500, "sekrit")); 3], Code::SecretsUnavailable),
        (vec![Some((400, r#"{"__type":"AccessDeniedException","Message":"sekrit"}"#))], Code::SecretsRefused),
        (vec![Some((400, r#"{"__type":"ResourceNotFoundException"}"#))], Code::SecretsRefused),
        (vec![Some((200, r#"{"SecretBinary":"c2Vrcml0"}"#))], Code::SecretsShape),
        (vec![Some((200, r#"{"SecretString":7,"x":"sekrit"}"#))], Code::SecretsShape),
        (vec![Some((200, "sekrit }"))], Code::SecretsShape),
    ] {
        let (stored, seen) = double(&answers).await;
        let error = stored.read().await.unwrap_err();
        assert_eq!((error.code(), seen.lock().unwrap().len()), (code, answers.len()), "{answers:?}");
        let said = format!("{error:?}");
        assert!(!said.contains("sekrit") && !said.contains("123456789012") && said.contains("shop-AbCdEf"), "{said}");
    }
}

#[tokio::test]
async fn an_answer_larger_than_a_secret_can_be_is_not_read() {
    let body = format!(r#"{{"SecretString":"{}"}}"#, "x".repeat(2 << 20));
    let (stored, _) = double(&[Some((200, &body))]).await;
    assert_eq!(stored.read().await.unwrap_err().code(), Code::SecretsRefused);
}
