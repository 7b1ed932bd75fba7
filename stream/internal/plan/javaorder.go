package plan

import (
	"slices"
	"strconv"
	"unicode/utf16"
)

func itoa(n int) string { return strconv.Itoa(n) }

// javaHashOrder is the order in which a java.util.HashSet, filled one by one from its default size, yields its strings:
// by bucket, and within a bucket by insertion.
func javaHashOrder(in []string) []string {
	capacity := 16
	for len(in) > capacity*3/4 {
		capacity *= 2
	}
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b string) int {
		return int(javaBucket(a, capacity)) - int(javaBucket(b, capacity))
	})
	return out
}

// javaBucket is HashMap's: String.hashCode with its upper half folded into the lower.
func javaBucket(s string, capacity int) uint32 {
	var h uint32
	for _, unit := range utf16.Encode([]rune(s)) {
		h = 31*h + uint32(unit)
	}
	return (h ^ h>>16) & uint32(capacity-1)
}

// javaTreeSet is a java.util.TreeSet of shown nodes. Java's description puts nodes into it whose order changes afterwards;
// where the next one then lands depends on the shape of the red-black tree, so the tree has Java's shape.
type javaTreeSet struct{ root *treeNode }

type treeNode struct {
	s                   *shown
	left, right, parent *treeNode
	red                 bool
}

func (t *javaTreeSet) add(s *shown) {
	if t.root == nil {
		t.root = &treeNode{s: s}
		return
	}
	at := t.root
	for {
		c := before(s, at.s)
		if c == 0 {
			return
		}
		next := &at.left
		if c > 0 {
			next = &at.right
		}
		if *next == nil {
			*next = &treeNode{s: s, parent: at, red: true}
			t.balance(*next)
			return
		}
		at = *next
	}
}

// balance is TreeMap.fixAfterInsertion, with both sides in one.
func (t *javaTreeSet) balance(x *treeNode) {
	for x != t.root && x.parent.red {
		parent := x.parent
		grand := parent.parent
		onLeft := parent == grand.left
		uncle := grand.left
		if onLeft {
			uncle = grand.right
		}
		if uncle != nil && uncle.red {
			parent.red, uncle.red, grand.red = false, false, true
			x = grand
			continue
		}
		if inner := parent.left; onLeft != (x == inner) {
			x = parent
			t.rotate(x, onLeft)
		}
		x.parent.red, grand.red = false, true
		t.rotate(grand, !onLeft)
	}
	t.root.red = false
}

// rotate turns p down to the left or to the right.
func (t *javaTreeSet) rotate(p *treeNode, left bool) {
	var up *treeNode
	if left {
		up = p.right
		p.right = up.left
		if up.left != nil {
			up.left.parent = p
		}
		up.left = p
	} else {
		up = p.left
		p.left = up.right
		if up.right != nil {
			up.right.parent = p
		}
		up.right = p
	}
	up.parent = p.parent
	switch {
	case p.parent == nil:
		t.root = up
	case p.parent.left == p:
		p.parent.left = up
	default:
		p.parent.right = up
	}
	p.parent = up
}

func (t *javaTreeSet) ordered() []*shown {
	var out []*shown
	var walk func(*treeNode)
	walk = func(n *treeNode) {
		if n != nil {
			walk(n.left)
			out = append(out, n.s)
			walk(n.right)
		}
	}
	walk(t.root)
	return out
}
