/* SPDX-License-Identifier: MIT */
/*
 * Parts of libxml2 that vane never gets to, but that the parts it uses name. With these in their
 * place none of them comes into the static program, nor what they need themselves: ICU, libstdc++,
 * the name service. That is a third of its size, code that talks to the network, and more than half
 * of what the program has to write when it starts, where each page is a fault, a copy and a frame
 * to be given back.
 *
 * All say 0 or NULL, which is "done" for those that prepare or clean up and "no" for the others.
 * XML can be in the encodings libxml2 knows itself.
 */
#include <stddef.h>

static void *unused(void)
{
    return NULL;
}

#define UNUSED(name) void *name(void) __attribute__((alias("unused")));

/* HTML */
UNUSED(UTF8ToHtml)
UNUSED(__htmlParseContent)
UNUSED(htmlCreateMemoryParserCtxt)
UNUSED(htmlDocContentDumpFormatOutput)
UNUSED(htmlGetMetaEncoding)
UNUSED(htmlInitAutoClose)
UNUSED(htmlIsBooleanAttr)
UNUSED(htmlNewDocNoDtD)
UNUSED(htmlNodeDumpFormatOutput)
UNUSED(htmlNodeDumpOutput)
UNUSED(htmlSetMetaEncoding)

/* XPath, schemas */
UNUSED(xmlXPathInit)
UNUSED(xmlSchemaCleanupTypes)
UNUSED(xmlRelaxNGCleanupTypes)

/* documents from the network */
UNUSED(xmlNanoFTPClose)
UNUSED(xmlNanoFTPOpen)
UNUSED(xmlNanoFTPRead)
UNUSED(xmlNanoHTTPClose)
UNUSED(xmlNanoHTTPEncoding)
UNUSED(xmlNanoHTTPMethod)
UNUSED(xmlNanoHTTPMimeType)
UNUSED(xmlNanoHTTPOpen)
UNUSED(xmlNanoHTTPRead)
UNUSED(xmlNanoHTTPRedir)
UNUSED(xmlNanoHTTPReturnCode)

/* catalogs of entities */
UNUSED(xmlCatalogAddLocal)
UNUSED(xmlCatalogCleanup)
UNUSED(xmlCatalogFreeLocal)
UNUSED(xmlCatalogGetDefaults)
UNUSED(xmlCatalogLocalResolve)
UNUSED(xmlCatalogLocalResolveURI)
UNUSED(xmlCatalogResolve)
UNUSED(xmlCatalogResolveURI)

/* models of a DTD */
UNUSED(xmlAutomataCompile)
UNUSED(xmlAutomataGetInitState)
UNUSED(xmlAutomataNewEpsilon)
UNUSED(xmlAutomataNewState)
UNUSED(xmlAutomataNewTransition)
UNUSED(xmlAutomataSetFinalState)
UNUSED(xmlFreeAutomata)
UNUSED(xmlNewAutomata)
UNUSED(xmlRegExecPushString)
UNUSED(xmlRegFreeExecCtxt)
UNUSED(xmlRegFreeRegexp)
UNUSED(xmlRegNewExecCtxt)
UNUSED(xmlRegexpIsDeterminist)

/* files of xz */
UNUSED(__libxml2_xzclose)
UNUSED(__libxml2_xzcompressed)
UNUSED(__libxml2_xzdopen)
UNUSED(__libxml2_xzopen)
UNUSED(__libxml2_xzread)

/* ICU; its names end in its version */
#define JOINED(name, version) name##_##version
#define VERSIONED(name, version) JOINED(name, version)
UNUSED(VERSIONED(UCNV_FROM_U_CALLBACK_STOP, ICU_VERSION))
UNUSED(VERSIONED(UCNV_TO_U_CALLBACK_STOP, ICU_VERSION))
UNUSED(VERSIONED(ucnv_close, ICU_VERSION))
UNUSED(VERSIONED(ucnv_convertEx, ICU_VERSION))
UNUSED(VERSIONED(ucnv_open, ICU_VERSION))
UNUSED(VERSIONED(ucnv_setFromUCallBack, ICU_VERSION))
UNUSED(VERSIONED(ucnv_setToUCallBack, ICU_VERSION))
