// Package deploy holds what the product is deployed with, as code: topics, database access, alerts. The same files serve
// the operator, who edits them, and the binary, which carries them as its defaults.
package deploy

import _ "embed" // topics.yaml is part of the binary

// TopicsYAML is the declared Kafka topics.
//
//go:embed topics.yaml
var TopicsYAML []byte
