package assign

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/millrun/millrun/stream/internal/task"
)

// Never is the time of a rebalance that is not planned.
const Never = math.MaxInt64

// Code is an error that the group tells its members.
type Code int32

// The codes.
const (
	OK                Code = 0
	MissingSources    Code = 1 // source topics are missing or wrong
	VersionProbing    Code = 2 // the leader does not know a member's version
	AssignmentFailed  Code = 3 // the leader could not assign
	ShutdownRequested Code = 4 // all instances are to end
)

// Partition is a partition of a topic.
type Partition struct {
	Topic     string
	Partition int32
}

// Host is where an instance answers queries.
type Host struct {
	Name string
	Port int32
}

// Hosted are the partitions that an instance holds.
type Hosted struct {
	Host       Host
	Partitions []Partition
}

// Standby is a copy to be kept, with the changelogs it is made of.
type Standby struct {
	Task       task.ID
	Partitions []Partition
}

// Assignment is what the leader tells a member (Kafka Streams' AssignmentInfo).
type Assignment struct {
	Version  int32
	Common   int32     // newest version that every member knows
	Active   []task.ID // one for each of the member's partitions, in the order of topic and number
	Standby  []Standby
	Hosts    []Hosted // of active tasks
	Standbys []Hosted // of standbys
	Error    Code
	Next     int64 // when to rebalance, in ms since 1970; 0: at once; Never: not planned
}

// Append appends the bytes, of the newest version.
func (a *Assignment) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, Version)
	b = binary.BigEndian.AppendUint32(b, uint32(a.Common))
	b = appendInt(b, len(a.Active))
	for _, id := range a.Active {
		b = appendTask(b, id)
	}
	b = appendInt(b, len(a.Standby))
	for _, s := range a.Standby {
		b = appendInt(appendTask(b, s.Task), len(s.Partitions))
		for _, p := range s.Partitions {
			b = appendInt(appendUTF(b, p.Topic), int(p.Partition))
		}
	}
	index := map[string]int{}
	var names []string
	for _, h := range append(append([]Hosted(nil), a.Hosts...), a.Standbys...) {
		for _, p := range h.Partitions {
			if _, ok := index[p.Topic]; !ok {
				index[p.Topic] = len(names)
				names = append(names, p.Topic)
			}
		}
	}
	b = appendInt(b, len(names))
	for i, name := range names {
		b = appendUTF(appendInt(b, i), name)
	}
	b = appendHosts(appendHosts(b, a.Hosts, index), a.Standbys, index)
	b = appendInt(b, int(a.Error))
	return binary.BigEndian.AppendUint64(b, uint64(a.Next))
}

func appendTask(b []byte, id task.ID) []byte {
	b = appendInt(appendInt(b, id.Sub), int(id.Partition))
	return appendInt(b, 0) // no named topology
}

func appendHosts(b []byte, hosts []Hosted, index map[string]int) []byte {
	b = appendInt(b, len(hosts))
	for _, h := range hosts {
		b = appendInt(appendUTF(b, h.Host.Name), int(h.Host.Port))
		b = appendInt(b, len(h.Partitions))
		for _, p := range h.Partitions {
			b = appendInt(appendInt(b, index[p.Topic]), int(p.Partition))
		}
	}
	return b
}

// ReadAssignment reads what the leader told: versions 7 to 11.
func ReadAssignment(b []byte) (Assignment, error) {
	r := reader{b: b}
	a := Assignment{Version: r.int32(), Common: r.int32()}
	if r.err == nil && (a.Version < oldest || a.Version > Version) {
		return a, fmt.Errorf("%w: %d; known are %d to %d", ErrVersion, a.Version, oldest, Version)
	}
	for range r.count(8) {
		a.Active = append(a.Active, r.task(a.Version))
	}
	for range r.count(12) {
		s := Standby{Task: r.task(a.Version)}
		for range r.count(6) {
			s.Partitions = append(s.Partitions, Partition{r.utf(), r.int32()})
		}
		a.Standby = append(a.Standby, s)
	}
	names := map[int32]string{}
	for range r.count(6) {
		i := r.int32()
		names[i] = r.utf()
	}
	a.Hosts = r.hosts(names)
	a.Standbys = r.hosts(names)
	a.Error = Code(r.int32())
	a.Next = r.int64()
	if err := r.end(); err != nil {
		return Assignment{}, fmt.Errorf("assignment: %w", err)
	}
	return a, nil
}

// task reads a task's name, which may carry a named topology since version 10.
func (r *reader) task(version int32) task.ID {
	id := task.ID{Sub: int(r.int32()), Partition: r.int32()}
	if version >= 10 {
		for range r.count(2) {
			r.uint16()
		}
	}
	return id
}

func (r *reader) hosts(names map[int32]string) (out []Hosted) {
	for range r.count(10) {
		h := Hosted{Host: Host{r.utf(), r.int32()}}
		for range r.count(8) {
			i := r.int32()
			name, ok := names[i]
			if !ok && r.err == nil {
				r.err = fmt.Errorf("%w: topic %d is not in the dictionary", ErrMalformed, i)
			}
			h.Partitions = append(h.Partitions, Partition{name, r.int32()})
		}
		out = append(out, h)
	}
	return out
}

func compareStrings(a, b string) int { return strings.Compare(a, b) }
