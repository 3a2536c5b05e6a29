//! Generated files as values.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Project, python, text};

/// A template as JSON, with `!Ref`, `!Sub` and `!GetAtt` in their long form.
pub fn template(text: &str) -> Value {
    let script = r"
import json, sys, yaml
class Loader(yaml.SafeLoader): pass
def tagged(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode): value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode): value = loader.construct_sequence(node, deep=True)
    else: value = loader.construct_mapping(node, deep=True)
    if suffix == 'GetAtt': value = value.split('.', 1)
    return {suffix if suffix == 'Ref' else 'Fn::' + suffix: value}
Loader.add_multi_constructor('!', tagged)
def once(loader, node, deep=False):
    keys = [loader.construct_object(k) for k, _ in node.value]
    assert len(keys) == len(set(keys)), f'a key twice in {keys}'
    return yaml.SafeLoader.construct_mapping(loader, node, deep)
Loader.add_constructor('tag:yaml.org,2002:map', lambda l, n: once(l, n, True))
print(json.dumps(yaml.load(sys.argv[1], Loader)))
";
    serde_json::from_str(&python(script, &[text])).unwrap()
}

/// The template of a generated folder.
pub fn of(project: &Project, dir: &str) -> Value {
    template(&text(project, &format!("{dir}/template.yaml")))
}

/// Its resources of a type, by their logical id.
pub fn all<'t>(template: &'t Value, kind: &str) -> BTreeMap<&'t str, &'t Value> {
    let resources = template["Resources"].as_object().unwrap().iter();
    resources.filter(|(_, r)| r["Type"] == kind).map(|(id, r)| (id.as_str(), &r["Properties"])).collect()
}

/// The types of its resources, each once.
pub fn kinds(template: &Value) -> std::collections::BTreeSet<&str> {
    template["Resources"].as_object().unwrap().values().map(|r| r["Type"].as_str().unwrap()).collect()
}

/// A stand-in for each substitution of the machine, by its name.
pub fn substitutions(template: &Value) -> BTreeMap<String, String> {
    let (_, machine) = all(template, "AWS::StepFunctions::StateMachine").into_iter().next().unwrap();
    let values = machine["DefinitionSubstitutions"].as_object().unwrap().keys();
    values
        .map(|name| (name.clone(), if name == "Partition" { "aws".to_owned() } else { format!("the-{name}") }))
        .collect()
}
