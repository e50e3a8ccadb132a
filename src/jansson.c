/*-------------------------------------------------------------------------
 *
 * jansson.c
 *	  What it takes to link jansson statically.
 *
 * The server exports a function named json_object, and so does jansson; a
 * shared libjansson that is loaded into a server binds its own calls to the
 * server's function and crashes at the first JSON object (libjwt, which
 * stands on it, does too).  So our libraries contain jansson, with its
 * symbols hidden: see SHLIB_LINK in the Makefiles.
 *
 * The archive was not compiled for that, which hurts in one place: it refers
 * to libc's stdin (to name the source in an error) in a way that only a
 * symbol of the same library satisfies.  This is that symbol.  Nothing of
 * ours reads from standard input.
 *
 *-------------------------------------------------------------------------
 */

extern void *stdin __attribute__((visibility("hidden")));
void	   *stdin;
