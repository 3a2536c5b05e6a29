//! Which of its two shapes a deployment has, and what runs each pipeline: a table, so that every row can be told to
//! whoever reads the plan.

use hakiri_core::spec::{AwsCatalog, AwsCompute, AwsSpec, PipelineSpec};
use hakiri_core::url::Authority;

use crate::deploy::private;

/// What runs a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::deploy) enum Compute {
    /// A function, once for each step.
    Lambda,
    /// A task, once for each run.
    Fargate,
}

impl Compute {
    /// As the machine's input calls it.
    pub(in crate::deploy) fn word(self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::Fargate => "fargate",
        }
    }

    /// As people call it.
    pub(in crate::deploy) fn title(self) -> &'static str {
        match self {
            Self::Lambda => "Lambda",
            Self::Fargate => "Fargate",
        }
    }
}

/// What was chosen, and the sentence that says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::deploy) struct Choice<T> {
    pub(in crate::deploy) chosen: T,
    pub(in crate::deploy) why: &'static str,
}

/// Where the state lives.
pub(super) fn catalog(spec: &AwsSpec) -> Choice<AwsCatalog> {
    let (chosen, why) = match (spec.catalog, &spec.database_secret_arn) {
        (Some(asked), _) => (asked, "[deploy.aws] catalog says so"),
        (None, Some(_)) => (AwsCatalog::Postgres, "[deploy.aws] database_secret_arn names a database"),
        (None, None) => (AwsCatalog::Dynamodb, "it needs no network and costs next to nothing at rest"),
    };
    Choice { chosen, why }
}

/// What the choice of what runs a pipeline depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Facts {
    /// The catalog is a PostgreSQL.
    postgres: bool,
    /// `fargate` names it.
    named: bool,
    /// What `compute` says.
    asked: Option<AwsCompute>,
    /// Its source is at an address that only a private network has.
    private: bool,
    /// It reads a database whose address is a secret.
    hidden: bool,
}

/// A condition, what follows from it, and why. The first that holds decides.
type Row = (fn(&Facts) -> bool, Compute, &'static str);

const ROWS: [Row; 7] = [
    (|f| f.postgres, Compute::Fargate, "the catalog is a PostgreSQL, whose network functions are not in"),
    (|f| f.named, Compute::Fargate, "[deploy.aws] fargate names it"),
    (|f| f.asked == Some(AwsCompute::Lambda), Compute::Lambda, "[deploy.aws] compute says so"),
    (|f| f.asked == Some(AwsCompute::Fargate), Compute::Fargate, "[deploy.aws] compute says so"),
    (|f| f.private, Compute::Fargate, "its source is in a private network, which functions are not in"),
    (
        |f| f.hidden,
        Compute::Fargate,
        "its database's address is a secret, and may be in a network that functions are not in",
    ),
    (|_| true, Compute::Lambda, "each step is a call of its own, of up to 15 minutes"),
];

fn choose(facts: &Facts) -> Choice<Compute> {
    let row = ROWS.iter().find(|(holds, ..)| holds(facts));
    row.map_or(Choice { chosen: Compute::Lambda, why: "" }, |(_, chosen, why)| Choice { chosen: *chosen, why })
}

/// What runs a pipeline.
pub(super) fn compute(spec: &AwsSpec, pipeline: &PipelineSpec) -> Choice<Compute> {
    choose(&Facts {
        postgres: catalog(spec).chosen == AwsCatalog::Postgres,
        named: spec.fargate.iter().any(|id| id == pipeline.id.as_str()),
        asked: spec.compute,
        private: !private::of_pipeline(pipeline).is_empty(),
        hidden: is_hidden(pipeline),
    })
}

/// Whether it reads a database at an address that is, or has, a secret.
fn is_hidden(pipeline: &PipelineSpec) -> bool {
    let mut urls = Vec::new();
    private::urls(&pipeline.source.config, &mut urls);
    pipeline.source.connector == "postgres"
        && urls.iter().any(|url| Authority::of(url).map_or(url.contains("${"), |a| a.hosts.contains("${")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_decides_where_those_before_it_do_not_hold() {
        use AwsCompute as Asked;
        let none = Facts::default();
        let table: [(Facts, Compute, usize); 10] = [
            (none, Compute::Lambda, 6),
            (Facts { hidden: true, ..none }, Compute::Fargate, 5),
            (Facts { private: true, hidden: true, ..none }, Compute::Fargate, 4),
            (Facts { asked: Some(Asked::Fargate), private: true, ..none }, Compute::Fargate, 3),
            (Facts { asked: Some(Asked::Lambda), private: true, hidden: true, ..none }, Compute::Lambda, 2),
            (Facts { named: true, asked: Some(Asked::Lambda), ..none }, Compute::Fargate, 1),
            (Facts { named: true, private: true, ..none }, Compute::Fargate, 1),
            (Facts { postgres: true, ..none }, Compute::Fargate, 0),
            (Facts { postgres: true, named: true, ..none }, Compute::Fargate, 0),
            (Facts { postgres: true, asked: Some(Asked::Lambda), ..none }, Compute::Fargate, 0),
        ];
        for (facts, chosen, row) in table {
            assert_eq!(choose(&facts), Choice { chosen, why: ROWS[row].2 }, "{facts:?}");
        }
        let rows: std::collections::BTreeSet<usize> = table.iter().map(|t| t.2).collect();
        assert_eq!(rows.len(), ROWS.len(), "a row without a test");
    }

    #[test]
    fn the_catalog_is_what_is_asked_for_and_else_follows_the_database() {
        let arn = || Some("arn:aws:secretsmanager:eu-central-1:123456789012:secret:x".to_owned());
        for (catalog_, database_secret_arn, chosen, why) in [
            (None, None, AwsCatalog::Dynamodb, "next to nothing at rest"),
            (None, arn(), AwsCatalog::Postgres, "names a database"),
            (Some(AwsCatalog::Postgres), None, AwsCatalog::Postgres, "says so"),
            (Some(AwsCatalog::Dynamodb), None, AwsCatalog::Dynamodb, "says so"),
        ] {
            let choice = catalog(&AwsSpec { catalog: catalog_, database_secret_arn, ..AwsSpec::default() });
            assert!(choice.chosen == chosen && choice.why.contains(why), "{choice:?}");
        }
    }

    #[test]
    fn a_database_is_hidden_when_a_secret_says_where_it_is() {
        use hakiri_core::spec::{ManifestText, parse};
        for (connector, url, hidden, private) in [
            ("postgres", "${SHOP}", true, false),
            ("postgres", "postgres://u:${P}@${HOST}/x", true, false),
            ("postgres", "postgres://u:${P}@db.example.com/x", false, false),
            ("postgres", "postgres://u:${P}@db.prod.internal/x", false, true),
        ] {
            let text = format!(
                "[project]\nname = \"p\"\n[[pipeline]]\nid = \"a\"\nsecrets = [\"SHOP\", \"P\", \"HOST\"]\nsource = {{ connector = \
                 \"{connector}\", config = {{ url = \"{url}\" }} }}\ntables = [\"x\"]\n"
            );
            let project =
                parse(&[ManifestText::new("hakiri.toml", text)], None, &crate::world::connectors().list()).unwrap();
            let pipeline = &project.pipelines[0];
            assert_eq!(is_hidden(pipeline), hidden, "{url}");
            assert_eq!(!crate::deploy::private::of_pipeline(pipeline).is_empty(), private, "{url}");
        }
    }
}
