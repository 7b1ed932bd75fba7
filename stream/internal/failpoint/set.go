// Package failpoint lets simulations stop an instance at a named place of the code, and plant bugs there that they must find.
// It is built in by the tag synctests only; without it every function here is empty and compiled away.
//
// A Set belongs to one instance and comes with the context its engine runs under, so that instances of one process are told
// apart. A nil Set stands for an instance nobody watches.
package failpoint
