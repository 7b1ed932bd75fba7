// Package changes is the shop's change events: four topics, the team that owns each, what a value must look like, and how
// one is published.
//
// Decoding is strict: an unknown field, a missing one, a value outside its set or a malformed uuid, time or decimal is an
// *[Error] that names every faulty field. The door of the API, the command line and the appliers decode with the same
// code, so what the door accepts the appliers understand. Everything here is safe for concurrent use.
package changes

import (
	"errors"
	"slices"
)

// The topics of change events.
const (
	OrdersPlaced    = "orders.placed"
	OrdersCompleted = "orders.completed"
	ItemsChanges    = "items.changes"
	MembersChanges  = "members.changes"
)

// ErrUnknownTopic says that a topic is none of [Topics].
var ErrUnknownTopic = errors.New("changes: not a topic of change events (orders.placed, orders.completed, items.changes, members.changes)")

// Team is who owns a topic: the key under database.credentials, and the team of an API key.
type Team string

// The teams that publish changes. Analytics is none of them: it reads.
const (
	Logistics  Team = "logistics"
	Sales      Team = "sales"
	Checkout   Team = "checkout"
	Membership Team = "membership"
)

// topic is everything fixed about one topic.
type topic struct {
	owner  Team
	login  string
	role   string
	decode func(*reader) Event
}

var topics = map[string]topic{
	OrdersPlaced:    {Checkout, "checkout_app", "svc_checkout", decodeOrderPlaced},
	OrdersCompleted: {Logistics, "logistics_app", "team_logistics", decodeOrderCompleted},
	ItemsChanges:    {Sales, "sales_app", "team_sales", decodeItemChange},
	MembersChanges:  {Membership, "member_app", "svc_membership", decodeMemberChange},
}

// Topics are the topics of change events, sorted.
func Topics() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for t := range topics {
			if !yield(t) {
				return
			}
		}
	})
}

// Owner is the team that alone may publish to the topic.
func Owner(topic string) (Team, bool) {
	t, ok := topics[topic]
	return t.owner, ok
}

// Login is the database login under which the topic's events are applied.
func Login(topic string) (string, bool) {
	t, ok := topics[topic]
	return t.login, ok
}

// Role is the database role that holds the rights of [Login]; the appliers' memory is kept under its name.
func Role(topic string) (string, bool) {
	t, ok := topics[topic]
	return t.role, ok
}
